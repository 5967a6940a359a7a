//! Complete responses: the bytes that are sent, the outcome of each status, what is recorded.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use postrider::domain::attempt::Outcome;
use postrider::sender::SignedRequest;

use super::{message, post, send_short, sender};
use crate::support::receiver::{Behaviour, Receiver, in_turn};

#[tokio::test]
async fn the_request_arrives_unchanged() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let request = SignedRequest { method, ..post(&receiver.url("/hook?a=1&b=%20#part")) };
        let exchange = sender().send(request).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Delivered, Some(200)));
        assert_eq!(exchange.error, None);
    }
    let requests = receiver.requests();
    let methods: Vec<_> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PUT", "PATCH"]);
    let request = &requests[0];
    assert_eq!(request.path, "/hook?a=1&b=%20");
    assert_eq!(request.text(), "{\"cool\":true}");
    let host = receiver.address().to_string();
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .collect();
    headers.sort();
    assert_eq!(
        headers,
        [
            ("content-length".to_owned(), "13"),
            ("content-type".to_owned(), "application/json"),
            ("host".to_owned(), host.as_str()),
            ("user-agent".to_owned(), "Postrider/test"),
        ]
    );
}

#[tokio::test]
async fn framing_headers_of_the_caller_are_ignored() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut request = post(&receiver.url("/"));
    let framing = [
        ("host", "elsewhere.test"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
    ];
    for (name, value) in framing {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(sender().send(request).await.outcome, Outcome::Delivered);
    let arrived = &receiver.requests()[0];
    assert_eq!(arrived.header("host"), Some(receiver.address().to_string().as_str()));
    assert_eq!(arrived.header("content-length"), Some("13"));
    assert_eq!(arrived.header("transfer-encoding"), None);
    assert_eq!(arrived.header("connection"), None);
    assert_eq!(arrived.text(), "{\"cool\":true}");
}

#[tokio::test]
async fn each_status_has_its_outcome() {
    let sender = sender();
    let cases = [
        (200, Outcome::Delivered),
        (201, Outcome::Delivered),
        (204, Outcome::Delivered),
        (299, Outcome::Delivered),
        (300, Outcome::Redirect),
        (304, Outcome::Redirect),
        (308, Outcome::Redirect),
        (400, Outcome::Rejected),
        (401, Outcome::Rejected),
        (404, Outcome::Rejected),
        (408, Outcome::TryLater),
        (410, Outcome::Rejected),
        (425, Outcome::TryLater),
        (429, Outcome::TryLater),
        (499, Outcome::Rejected),
        (500, Outcome::ServerError),
        (503, Outcome::ServerError),
        (599, Outcome::ServerError),
        (600, Outcome::BadAnswer),
        (999, Outcome::BadAnswer),
    ];
    for (status, outcome) in cases {
        let receiver = Receiver::start(Behaviour::status(status)).await;
        let exchange = sender.send(post(&receiver.url("/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (outcome, Some(status)), "{status}");
        let names_status = message(&exchange).contains(&status.to_string());
        assert_eq!(names_status, outcome != Outcome::Delivered, "{exchange:?}");
    }
}

#[tokio::test]
async fn connections_are_reused_after_error_responses() {
    let turns = vec![Behaviour::status(503), Behaviour::status(503), Behaviour::ok()];
    let receiver = Receiver::start(in_turn(turns)).await;
    let sender = sender();
    for expected in [Outcome::ServerError, Outcome::ServerError, Outcome::Delivered] {
        assert_eq!(sender.send(post(&receiver.url("/"))).await.outcome, expected);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Receiver::start(Behaviour::ok()).await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = Behaviour::status(status).header("Location", &target.url("/stolen"));
        let receiver = Receiver::start(redirect).await;
        let exchange = sender().send(post(&receiver.url("/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Redirect, Some(status)));
        assert!(message(&exchange).contains("not followed"), "{exchange:?}");
        assert!(exchange.response_headers.contains("location: "), "{exchange:?}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn informational_responses_are_skipped() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let receiver = Receiver::start(Behaviour::Raw(bytes.to_vec())).await;
    let exchange = sender().send(post(&receiver.url("/"))).await;
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Delivered, Some(200)));
    assert_eq!(exchange.response_body, "ok");
}

#[tokio::test]
async fn switching_protocols_has_outcome_bad_answer() {
    let bytes = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let receiver = Receiver::start(Behaviour::Raw(bytes.to_vec())).await;
    let exchange = sender().send(post(&receiver.url("/"))).await;
    assert_eq!(exchange.outcome, Outcome::BadAnswer, "{exchange:?}");
}

#[tokio::test]
async fn response_bodies_are_recorded_up_to_the_limit() {
    let answer = |body: &str| Behaviour::status(500).header("X-Trace", "t1").body(body);
    let (whole, long) = ("a".repeat(1_024), "a".repeat(1_025));
    let receiver = Receiver::start(in_turn(vec![answer(&whole), answer(&long)])).await;
    let sender = sender();

    let exchange = sender.send(post(&receiver.url("/"))).await;
    assert_eq!(exchange.response_body, whole);
    assert!(!exchange.response_truncated);
    assert_eq!(exchange.response_headers, "x-trace: t1\ncontent-length: 1024\n");

    let exchange = sender.send(post(&receiver.url("/"))).await;
    assert_eq!(exchange.response_body, whole);
    assert!(exchange.response_truncated);
    assert_eq!(receiver.connections(), 1, "a body within the read limit keeps the connection");
}

#[tokio::test]
async fn a_huge_body_is_not_drained_and_does_not_change_the_outcome() {
    let receiver = Receiver::start(Behaviour::BigBody(10 * 1024 * 1024)).await;
    let exchange = sender().send(post(&receiver.url("/"))).await;
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Delivered, Some(200)));
    assert_eq!(exchange.error, None);
    assert_eq!(exchange.response_body.len(), 1_024);
    assert!(exchange.response_truncated);
    receiver.wait_for_cut_off(1).await;
}

#[tokio::test]
async fn chunked_bodies_and_bodies_until_close_are_read() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let until_close = b"HTTP/1.0 200 OK\r\n\r\nok";
    for bytes in [chunked.to_vec(), until_close.to_vec()] {
        let receiver = Receiver::start(Behaviour::Raw(bytes)).await;
        let exchange = sender().send(post(&receiver.url("/"))).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
        assert_eq!(exchange.response_body, "ok");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_for_retryable_statuses() {
    let seconds = Duration::from_secs;
    let cases = [
        (429, "120", Some(seconds(120))),
        (503, " 7 ", Some(seconds(7))),
        (500, "0", Some(seconds(0))),
        (408, "1", Some(seconds(1))),
        (429, "Sun, 06 Nov 1994 08:50:37 GMT", Some(seconds(60))),
        (429, "Sunday, 06-Nov-94 08:50:37 GMT", Some(seconds(60))),
        (429, "Sun Nov  6 08:50:37 1994", Some(seconds(60))),
        (429, "Sun, 06 Nov 1994 08:00:00 GMT", Some(seconds(0))),
        (429, "99999999999999999999999", Some(seconds(u64::from(u32::MAX)))),
        (429, "-1", None),
        (429, "1.5", None),
        (429, "soon", None),
        (404, "120", None),
        (200, "120", None),
        (301, "120", None),
    ];
    let sender = sender();
    for (status, value, expected) in cases {
        let answer = Behaviour::status(status).header("Retry-After", value);
        let receiver = Receiver::start(answer).await;
        let exchange = sender.send(post(&receiver.url("/"))).await;
        assert_eq!(exchange.retry_after, expected, "{status} {value}");
    }
}

#[tokio::test]
async fn connection_close_closes_the_connection() {
    let closing = Behaviour::ok().header("Connection", "close");
    let receiver = Receiver::start(closing).await;
    let sender = sender();
    for _ in 0..2 {
        let exchange = sender.send(post(&receiver.url("/"))).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn concurrent_requests_get_their_own_responses() {
    let script =
        crate::support::receiver::by_request(|request| Behaviour::ok().body(request.body.clone()));
    let receiver = Receiver::start(script).await;
    let sender = sender();
    let sends = (0..64).map(|number| {
        let body = Bytes::from(format!("{{\"n\":{number}}}"));
        let request = SignedRequest { body: body.clone(), ..post(&receiver.url("/")) };
        let sender = &sender;
        async move { (sender.send(request).await, body) }
    });
    for (exchange, body) in futures_util::future::join_all(sends).await {
        assert_eq!(exchange.response_body, body);
    }
    assert_eq!(receiver.requests().len(), 64);
}

#[tokio::test]
async fn set_cookie_is_masked_in_the_record() {
    let receiver = Receiver::start(Behaviour::ok().header("Set-Cookie", "session=1")).await;
    let exchange = sender().send(post(&receiver.url("/"))).await;
    assert_eq!(exchange.response_headers, "set-cookie: ***\ncontent-length: 0\n");
}

#[tokio::test]
async fn an_empty_body_is_sent_and_times_out_like_any_other() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let sender = sender();
    let request = SignedRequest { body: Bytes::new(), ..post(&receiver.url("/")) };
    assert_eq!(sender.send(request).await.outcome, Outcome::Delivered);
    assert_eq!(receiver.requests()[0].body, b"");

    receiver.set_script(Behaviour::hang());
    let request = SignedRequest {
        body: Bytes::new(),
        timeout: super::SHORT_TIMEOUT,
        ..post(&receiver.url("/"))
    };
    let exchange = sender.send(request).await;
    assert!(message(&exchange).contains("the response's head"), "{exchange:?}");
    let exchange = send_short(&sender, &receiver.url("/")).await;
    assert!(message(&exchange).contains("the response's head"), "{exchange:?}");
}
