//! Failed requests: every failure has its outcome and a message with the cause and the phase.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderValue;
use postrider::domain::attempt::Outcome;
use postrider::sender::SignedRequest;
use tokio::net::TcpSocket;

use super::{closed_port, message, post, send_short, sender, sender_with};
use crate::support::receiver::{Behaviour, Greeting, Receiver};
use crate::support::resolver::{Answer, TableResolver};

#[tokio::test]
async fn a_refused_connection_has_outcome_connect() {
    let exchange = sender().send(post(&format!("http://{}/", closed_port()))).await;
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Connect, None));
    assert_eq!(message(&exchange), "connecting failed: connection refused");
}

#[tokio::test]
async fn a_connect_timeout_names_the_phase() {
    // One connection fills a listen backlog of zero; the kernel drops further SYNs.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting = tokio::net::TcpStream::connect(address).await.unwrap();
    let exchange = send_short(&sender(), &format!("http://{address}/")).await;
    assert_eq!(exchange.outcome, Outcome::Timeout);
    assert!(message(&exchange).ends_with("while connecting (TCP)"), "{exchange:?}");
}

#[tokio::test]
async fn dns_failures_have_outcome_dns_and_name_the_cause() {
    let names = TableResolver::on_loopback(&[]);
    names.set("bare.test", vec![Answer::NoAddress]);
    names.set("empty.test", vec![Answer::addresses(&[])]);
    names.set("slow.test", vec![Answer::Timeout]);
    let sender = sender_with(&names, Vec::new());
    let cases = [
        ("missing.test", "DNS: the name `missing.test` does not exist"),
        ("bare.test", "DNS: the name `bare.test` has no address"),
        ("empty.test", "DNS: the name `empty.test` has no address"),
        ("slow.test", "DNS: no name server answered in time for `slow.test`"),
    ];
    for (name, expected) in cases {
        let exchange = sender.send(post(&format!("http://{name}/"))).await;
        assert_eq!(exchange.outcome, Outcome::Dns, "{exchange:?}");
        assert_eq!(message(&exchange), expected);
    }
}

#[tokio::test]
async fn a_dns_timeout_names_the_phase() {
    let names = TableResolver::on_loopback(&[]);
    names.set("hanging.test", vec![Answer::Never]);
    let sender = sender_with(&names, Vec::new());
    let url = "http://hanging.test/";
    let empty =
        SignedRequest { body: bytes::Bytes::new(), timeout: super::SHORT_TIMEOUT, ..post(url) };
    for exchange in [send_short(&sender, url).await, sender.send(empty).await] {
        assert_eq!(exchange.outcome, Outcome::Timeout);
        let phase = "while resolving the host's name (DNS)";
        assert!(message(&exchange).ends_with(phase), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_reset_or_close_without_a_response_has_outcome_reset() {
    let receiver = Receiver::start(Behaviour::reset()).await;
    let sender = sender();
    for behaviour in [Behaviour::reset(), Behaviour::close()] {
        receiver.set_script(behaviour);
        let exchange = sender.send(post(&receiver.url("/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Reset, None), "{exchange:?}");
        assert!(message(&exchange).contains("the receiver"), "{exchange:?}");
    }
    assert_eq!(receiver.requests().len(), 2, "a request is never retried by the sender");
}

#[tokio::test]
async fn a_reset_or_close_before_the_request_is_read_has_outcome_reset() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    for greeting in [Greeting::Reset, Greeting::Close] {
        receiver.set_greeting(greeting);
        let exchange = sender().send(post(&receiver.url("/"))).await;
        // The reset may arrive before connect() returns.
        let early = greeting == Greeting::Reset && exchange.outcome == Outcome::Connect;
        assert!(exchange.outcome == Outcome::Reset || early, "{exchange:?}");
        assert!(
            message(&exchange).contains("reset") || greeting == Greeting::Close,
            "{exchange:?}"
        );
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks_within_the_response_head_has_outcome_reset() {
    let heads: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\ncontent-len",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    ];
    for bytes in heads {
        let receiver = Receiver::start(Behaviour::Raw(bytes.to_vec())).await;
        let exchange = sender().send(post(&receiver.url("/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Reset, None), "{exchange:?}");
        assert!(message(&exchange).contains("before the response was complete"), "{exchange:?}");

        receiver.set_script(Behaviour::RawThenReset(bytes.to_vec()));
        let exchange = sender().send(post(&receiver.url("/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Reset, None), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_response_timeout_names_the_phase() {
    let head = "sending the request or waiting for the response's head";
    let cases: [&[u8]; 3] =
        [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"];
    let sender = &sender();
    let sends = cases.iter().map(|bytes| async move {
        let receiver = Receiver::start(Behaviour::RawThenHang(bytes.to_vec())).await;
        let (literal, name) = (receiver.url("/"), receiver.url_at("receiver.test", "/"));
        for exchange in [send_short(sender, &literal).await, send_short(sender, &name).await] {
            assert_eq!((exchange.outcome, exchange.status), (Outcome::Timeout, None));
            assert!(message(&exchange).ends_with(&format!("while {head}")), "{exchange:?}");
        }
    });
    futures_util::future::join_all(sends).await;
}

#[tokio::test]
async fn a_partial_response_is_recorded_when_the_timeout_expires() {
    let bytes = b"HTTP/1.1 500 No\r\nx-trace: t1\r\ncontent-length: 10\r\n\r\nhalf".to_vec();
    let receiver = Receiver::start(Behaviour::RawThenHang(bytes)).await;
    let exchange = send_short(&sender(), &receiver.url("/")).await;
    assert_eq!(exchange.response_body, "half");
    assert!(exchange.response_headers.starts_with("x-trace: t1\n"), "{exchange:?}");
}

#[tokio::test]
async fn a_receiver_that_accepts_and_never_reads_times_out() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.set_greeting(Greeting::NeverRead);
    let body = bytes::Bytes::from(vec![b' '; 8 * 1024 * 1024]);
    let request = SignedRequest { body, timeout: super::SHORT_TIMEOUT, ..post(&receiver.url("/")) };
    let exchange = sender().send(request).await;
    assert_eq!(exchange.outcome, Outcome::Timeout);
    assert!(message(&exchange).contains("sending the request"), "{exchange:?}");
}

#[tokio::test]
async fn a_slow_response_does_not_extend_the_timeout() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let sender = sender();
    let in_head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    let in_body = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let cases = [
        (in_head, Outcome::Timeout, "the response's head"),
        (in_body, Outcome::Delivered, "the response's body"),
    ];
    for (bytes, outcome, phase) in cases {
        receiver.set_script(Behaviour::Dribble(bytes));
        let exchange = send_short(&sender, &receiver.url("/")).await;
        assert_eq!(exchange.outcome, outcome);
        assert!(message(&exchange).ends_with(phase), "{exchange:?}");
        receiver.wait_for_cut_off(1).await;
    }
}

#[tokio::test]
async fn a_response_without_a_status_line_has_outcome_bad_answer() {
    let cases: [(&str, &[u8]); 9] = [
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("smtp, waiting for a command", b"220 mail.test ESMTP"),
        ("words", b"hello there\r\n\r\n"),
        ("status", b"HTTP/1.1 abc OK\r\n\r\n"),
        ("two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
        ("below 100", b"HTTP/1.1 099 OK\r\n\r\n"),
        ("no status", b"HTTP/1.1\r\n\r\n"),
        ("HTTP/2", b"HTTP/2 200\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let receiver = Receiver::start(Behaviour::RawThenHang(bytes.to_vec())).await;
        let exchange = sender().send(post(&receiver.url("/"))).await;
        assert_eq!(exchange.outcome, Outcome::BadAnswer, "{what}: {exchange:?}");
        assert!(message(&exchange).contains("not valid HTTP"), "{what}: {exchange:?}");
    }
}

#[tokio::test]
async fn error_messages_contain_no_secret_of_the_request() {
    let gone = format!("http://{}/?key=hunter2", closed_port());
    let long = format!("http://receiver.test/?key=hunter2&long={}", "x".repeat(70_000));
    for url in [gone.as_str(), "http://missing.test/?key=hunter2", long.as_str()] {
        let mut request = post(url);
        request.headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        let exchange = sender().send(request).await;
        assert_ne!(exchange.outcome, Outcome::Delivered);
        assert!(!format!("{exchange:?}").contains("hunter2"), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_url_too_long_for_a_request_has_outcome_render() {
    let exchange =
        sender().send(post(&format!("http://receiver.test/{}", "x".repeat(70_000)))).await;
    assert_eq!(exchange.outcome, Outcome::Render, "{exchange:?}");
}
