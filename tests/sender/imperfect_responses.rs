//! Responses that break HTTP's rules after a sound status line: the status decides, and what is wrong with
//! the body is noted.

use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::sender::{Exchange, SignedRequest};

use super::{SHORT_TIMEOUT, message, post, send_short, sender};
use crate::support::receiver::{Behaviour, Greeting, Receiver};

async fn answered(behaviour: Behaviour) -> Exchange {
    let receiver = Receiver::start(behaviour).await;
    sender().send(post(&receiver.url("/"))).await
}

async fn answered_raw(bytes: &[u8]) -> Exchange {
    answered(Behaviour::Raw(bytes.to_vec())).await
}

/// Bodies that end before their announced end, each with its part that arrives.
const CUT: [(&[u8], &str); 6] = [
    (b"content-length: 10\r\n\r\nhalf", "half"),
    (b"content-length: 10\r\n\r\n", ""),
    (b"transfer-encoding: chunked\r\n\r\n5\r\nhal", "hal"),
    (b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"),
    (b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", "half"),
    (b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx-sum: 1\r\n", "half"),
];

#[tokio::test]
async fn a_2xx_whose_body_is_cut_is_delivered_with_the_fault_noted() {
    let sender = &sender();
    let cases = CUT.iter().flat_map(|(rest, body)| {
        ["200 OK", "202 Accepted", "207 Multi-Status"].map(|status| (*rest, *body, status))
    });
    let sends = cases.map(async |(rest, body, status)| {
        let bytes = [b"HTTP/1.1 ", status.as_bytes(), b"\r\n", rest].concat();
        let closing = Receiver::start(Behaviour::Raw(bytes.clone())).await;
        let closed = sender.send(post(&closing.url("/"))).await;
        let hanging = Receiver::start(Behaviour::RawThenHang(bytes)).await;
        let hung = send_short(sender, &hanging.url("/")).await;
        let cut = "the receiver closed the connection before the response was complete".to_owned();
        let late = format!("timed out after {SHORT_TIMEOUT:?} while reading the response's body");
        for (exchange, fault) in [(closed, cut), (hung, late)] {
            assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
            assert_eq!(exchange.response_body, body, "{exchange:?}");
            assert_eq!(message(&exchange), format!("answered {status}; {fault}"));
        }
    });
    futures_util::future::join_all(sends).await;
}

#[tokio::test]
async fn a_2xx_whose_connection_is_reset_in_the_body_is_delivered() {
    let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let exchange = answered(Behaviour::RawThenReset(bytes.to_vec())).await;
    // The reset may overtake the response.
    let overtaken = (exchange.outcome, exchange.status) == (Outcome::Reset, None);
    assert!(overtaken || exchange.outcome == Outcome::Delivered, "{exchange:?}");
    assert!(message(&exchange).contains("reset"), "{exchange:?}");
}

#[tokio::test]
async fn a_2xx_with_malformed_chunks_is_delivered_with_the_fault_noted() {
    let long = "1".repeat(100_000);
    let comment = format!("5;{}", "x".repeat(100_000));
    let chunks = [
        "not hex\r\n",
        "\r\n",
        "-1\r\n",
        "ffffffffffffffffff\r\n",
        "2\r\nokk\r\n",
        &long,
        &comment,
    ];
    for chunks in chunks {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let bytes = [head, chunks.as_bytes()].concat();
        let exchange = answered(Behaviour::RawThenHang(bytes)).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
        assert!(message(&exchange).contains("not valid HTTP"), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_2xx_with_an_endless_body_is_delivered() {
    let heads: [(&[u8], &[u8]); 3] = [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x-trailer: 1\r\n"),
    ];
    for (head, again) in heads {
        let exchange = answered(Behaviour::Flood(head.to_vec(), again.to_vec())).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
}

#[tokio::test]
async fn the_status_of_an_error_counts_whatever_its_body_does() {
    let cases = [
        ("404 Not Found", Outcome::Rejected, None),
        ("301 Moved Permanently", Outcome::Redirect, None),
        ("500 Internal Server Error", Outcome::ServerError, Some(Duration::from_secs(7))),
        ("429 Too Many Requests", Outcome::TryLater, Some(Duration::from_secs(7))),
    ];
    for (status, outcome, retry_after) in cases {
        for (rest, _) in CUT {
            let head = format!("HTTP/1.1 {status}\r\nretry-after: 7\r\n");
            let exchange = answered_raw(&[head.as_bytes(), rest].concat()).await;
            assert_eq!((exchange.outcome, exchange.retry_after), (outcome, retry_after));
            assert!(message(&exchange).starts_with(&format!("answered {status}")), "{exchange:?}");
            assert!(message(&exchange).ends_with("was complete"), "{exchange:?}");
        }
    }
}

#[tokio::test]
async fn a_207_to_a_batch_needs_its_whole_body() {
    let sender = &sender();
    let sends = CUT.iter().map(async |(rest, _)| {
        let bytes = [b"HTTP/1.1 207 Multi-Status\r\n", *rest].concat();
        let closing = Receiver::start(Behaviour::Raw(bytes.clone())).await;
        let hanging = Receiver::start(Behaviour::RawThenHang(bytes)).await;
        let cases = [
            (closing.url("/"), super::LONG_TIMEOUT, Outcome::Reset),
            (hanging.url("/"), SHORT_TIMEOUT, Outcome::Timeout),
        ];
        for (url, timeout, outcome) in cases {
            let request = SignedRequest { multistatus_bytes: 1_000, timeout, ..post(&url) };
            let exchange = sender.send(request).await;
            assert_eq!((exchange.outcome, exchange.status), (outcome, Some(207)), "{exchange:?}");
            assert_eq!(exchange.multistatus, None);
        }
    });
    futures_util::future::join_all(sends).await;
}

#[tokio::test]
async fn malformed_headers_are_skipped_and_the_others_read() {
    let oversized = format!("x-big: {}", "y".repeat(2 * 1024 * 1024));
    let folded_oversized = format!("{oversized}\r\n and more");
    let long_name = format!("{}: 1", "n".repeat(100_000));
    let many = vec!["x-many: 1"; 5_000].join("\r\n");
    let lines = [
        "bad header",
        "bad header\r\n\tand its continuation",
        " leading: space",
        "na me: 1",
        "n\u{e4}me: 1",
        ": no name",
        "x-ctl: a\u{1}b",
        "x-nul: a\0b",
        "x-cr: a\rb",
        "x-bytes: \u{fe}\u{ff}",
        "x-space : 1",
        "content-length:",
        "content-length: ",
        "content-length: lots",
        "content-length: -1",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 99999999999999999999",
        "transfer-encoding: ",
        "transfer-encoding: gzip",
        "transfer-encoding: identity",
        &oversized,
        &folded_oversized,
        &long_name,
        &many,
    ];
    for line in lines {
        let what = &line[..line.len().min(40)];
        let bytes = format!("HTTP/1.1 200 OK\r\nx-first: 1\r\n{line}\r\nx-last: 2\r\n\r\nok");
        let exchange = answered_raw(bytes.as_bytes()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{what}: {exchange:?}");
        assert_eq!(exchange.error, None, "{what}");
        assert_eq!(exchange.response_body, "ok", "{what}");
        assert!(exchange.response_headers.contains("x-first: 1"), "{what}: {exchange:?}");
        // What is recorded of headers is bounded.
        let is_cut = line.len() > 16 * 1024 && line == many;
        assert!(
            is_cut || exchange.response_headers.contains("x-last: 2\n"),
            "{what}: {exchange:?}"
        );

        let bytes = format!("HTTP/1.1 503 No\r\n{line}\r\nRetry-After: 9\r\n\r\n");
        let exchange = answered_raw(bytes.as_bytes()).await;
        assert_eq!(exchange.outcome, Outcome::ServerError, "{what}: {exchange:?}");
        assert_eq!(exchange.retry_after, Some(Duration::from_secs(9)), "{what}");
    }
}

#[tokio::test]
async fn framing_headers_are_understood_in_the_forms_that_receivers_send() {
    let many = "x-many: 1\r\n".repeat(150);
    let very_many = "x-many: 1\r\n".repeat(5_000);
    let cases = [
        "content-length: 2\r\n\r\nok and more",
        "Content-Length:2\r\n\r\nok",
        "content-length : 2\r\n\r\nok",
        "content-length: 2, 2\r\n\r\nok",
        "content-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "content-length:\r\n 2\r\n\r\nok",
        "content-length: 002\r\n\r\nok",
        &format!("{many}content-length: 2\r\n\r\nok"),
        &format!("{very_many}content-length: 2\r\n\r\nok"),
        "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: Chunked\r\n\r\n002;name=value\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2  \r\nok\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "transfer-encoding: chunked\n\n1\no\n1\nk\n0\n\n",
        "transfer-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
    ];
    for rest in cases {
        let what = &rest[rest.len().saturating_sub(60)..];
        // The connection stays open: only framing ends the body.
        let bytes = format!("HTTP/1.1 200 OK\r\n{rest}");
        let exchange = answered(Behaviour::RawThenHang(bytes.into_bytes())).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{what}: {exchange:?}");
        assert_eq!(exchange.error, None, "{what}");
        assert_eq!(exchange.response_body, "ok", "{what}");
    }
}

#[tokio::test]
async fn status_lines_are_read_in_the_forms_that_receivers_send() {
    let lines = [
        "HTTP/1.1 200\r\n",
        "HTTP/1.1 200 \r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1  200  OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 Tout va bien, \u{e9}t\u{e9}\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
    ];
    for line in lines {
        let exchange = answered_raw(format!("{line}content-length: 2\r\n\r\nok").as_bytes()).await;
        assert_eq!(
            (exchange.outcome, exchange.status),
            (Outcome::Delivered, Some(200)),
            "{line:?}"
        );
        assert_eq!(exchange.response_body, "ok", "{line:?}");
    }
}

#[tokio::test]
async fn endless_informational_responses_end_with_the_timeout_and_delay_no_other_request() {
    let continues = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n".to_vec();
    let healthy = Receiver::start(Behaviour::ok()).await;
    for again in [continues, hints, b"HTTP/1.1 200 OK\r\n".to_vec(), b"x".to_vec()] {
        let is_header = again == b"x";
        let first = if is_header { b"HTTP/1.1 200 OK\r\nx: ".to_vec() } else { Vec::new() };
        let flood = Receiver::start(Behaviour::Flood(first, again)).await;
        let (sender, url) = (sender(), flood.url("/"));
        let endless = send_short(&sender, &url);
        let others = async {
            let mut sent = 0;
            while sent < 100 {
                let exchange = sender.send(post(&healthy.url("/"))).await;
                assert_eq!(exchange.outcome, Outcome::Delivered);
                sent += 1;
            }
        };
        let (exchange, ()) = tokio::join!(endless, others);
        assert!(matches!(exchange.outcome, Outcome::Timeout | Outcome::BadAnswer), "{exchange:?}");
        assert_eq!(exchange.status, None);
        assert!(exchange.duration < 4 * SHORT_TIMEOUT, "{exchange:?}");
        flood.wait_for_cut_off(1).await;
    }
}

#[tokio::test]
async fn slow_informational_responses_end_with_the_timeout() {
    // After its first bytes, it writes one space at a time: no final response ever comes.
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
    let receiver = Receiver::start(Behaviour::Dribble(bytes)).await;
    let exchange = send_short(&sender(), &receiver.url("/")).await;
    assert_eq!(exchange.status, None, "{exchange:?}");
    assert!(exchange.duration < 4 * SHORT_TIMEOUT, "{exchange:?}");
}

#[tokio::test]
async fn a_response_to_a_request_that_is_not_read_is_its_response() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let response = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    receiver.set_greeting(Greeting::EarlyResponse(response));
    let body = bytes::Bytes::from(vec![b' '; 16 * 1024 * 1024]);
    let request = SignedRequest { body, ..post(&receiver.url("/")) };
    let exchange = sender().send(request).await;
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Rejected, Some(413)), "{exchange:?}");
    assert_eq!(exchange.response_body, "no");
}
