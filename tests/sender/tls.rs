//! TLS: no request is sent unless the certificate verifies; the error names the cause.

use postrider::domain::attempt::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{message, post, send_short, sender_with};
use crate::support::certificates::{Authority, Kind};
use crate::support::receiver::{Behaviour, Greeting, Receiver};
use crate::support::resolver::TableResolver;

const NAME: &str = "receiver.test";

async fn receiver(authority: &Authority, kind: Kind) -> Receiver {
    Receiver::start_tls(Behaviour::ok(), authority.server(NAME, kind)).await
}

#[tokio::test]
async fn a_valid_certificate_delivers_and_the_connection_is_reused() {
    let authority = Authority::new();
    let receiver = receiver(&authority, Kind::Good).await;
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), vec![authority.root()]);
    for _ in 0..3 {
        let exchange = sender.send(post(&receiver.url_at(NAME, "/"))).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
    assert_eq!(receiver.connections(), 1);
    assert_eq!(receiver.requests()[0].text(), "{\"cool\":true}");
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_sends_no_request() {
    let authority = Authority::new();
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), vec![authority.root()]);
    let cases = [
        (Kind::SelfSigned, "self-signed"),
        (Kind::SelfSignedAuthority, "self-signed"),
        (Kind::Expired, "expired"),
        (Kind::NotYetValid, "not valid yet"),
        (Kind::WrongName, "not valid for this host's name"),
    ];
    for (kind, cause) in cases {
        let receiver = receiver(&authority, kind).await;
        let exchange = sender.send(post(&receiver.url_at(NAME, "/"))).await;
        assert_eq!((exchange.outcome, exchange.status), (Outcome::Tls, None), "{exchange:?}");
        assert!(message(&exchange).contains("the certificate does not verify"), "{exchange:?}");
        assert!(message(&exchange).contains(cause), "{kind:?}: {exchange:?}");
        assert!(receiver.requests().is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn an_untrusted_authority_is_named() {
    let receiver = receiver(&Authority::new(), Kind::Good).await;
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), Vec::new());
    let exchange = sender.send(post(&receiver.url_at(NAME, "/"))).await;
    assert_eq!(exchange.outcome, Outcome::Tls);
    assert!(message(&exchange).contains("not trusted"), "{exchange:?}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_handshake_timeout_names_the_phase() {
    let authority = Authority::new();
    let receiver = receiver(&authority, Kind::Good).await;
    receiver.set_greeting(Greeting::NeverRead);
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), vec![authority.root()]);
    for host in [NAME, "127.0.0.1"] {
        let exchange = send_short(&sender, &receiver.url_at(host, "/")).await;
        assert_eq!(exchange.outcome, Outcome::Timeout);
        assert!(message(&exchange).ends_with("while in the TLS handshake"), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_broken_handshake_has_outcome_tls() {
    let authority = Authority::new();
    let receiver = receiver(&authority, Kind::Good).await;
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), vec![authority.root()]);
    for greeting in [Greeting::Reset, Greeting::Close] {
        receiver.set_greeting(greeting);
        let exchange = sender.send(post(&receiver.url_at(NAME, "/"))).await;
        // The reset may arrive before connect() returns.
        if greeting == Greeting::Reset && exchange.outcome == Outcome::Connect {
            continue;
        }
        assert_eq!(exchange.outcome, Outcome::Tls, "{exchange:?}");
        assert!(message(&exchange).contains("in the handshake"), "{exchange:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_speak_tls_has_outcome_tls() {
    let greeter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", greeter.local_addr().unwrap());
    let greeting = async {
        let (mut socket, _) = greeter.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        socket
    };
    let sender = sender_with(&TableResolver::on_loopback(&[]), Vec::new());
    let (exchange, _open) = tokio::join!(sender.send(post(&url)), greeting);
    assert_eq!(exchange.outcome, Outcome::Tls, "{exchange:?}");
    assert!(message(&exchange).contains("does not speak TLS"), "{exchange:?}");
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_not_delivered() {
    let authority = Authority::new();
    let receiver = receiver(&authority, Kind::Good).await;
    let sender = sender_with(&TableResolver::on_loopback(&[NAME]), Vec::new());
    let url = format!("http://{NAME}:{}/", receiver.address().port());
    let exchange = sender.send(post(&url)).await;
    assert!(matches!(exchange.outcome, Outcome::BadAnswer | Outcome::Reset), "{exchange:?}");
}
