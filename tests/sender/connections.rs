//! Connections: which are used again, what a closed one costs, and several addresses of one name.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use postrider::domain::attempt::Outcome;
use postrider::sender::{AddressPolicy, LocalResource, Sender, SenderOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};

use super::{message, post, sender, sender_with};
use crate::support::certificates::{Authority, Kind};
use crate::support::receiver::{Behaviour, Received, Receiver, in_turn};
use crate::support::resolver::{Answer, TableResolver};

#[tokio::test]
async fn a_reused_connection_that_is_closed_without_an_answer_is_replaced_within_the_attempt() {
    for closing in [Behaviour::close(), Behaviour::reset()] {
        let script = vec![Behaviour::ok(), closing.clone(), Behaviour::ok().body("second")];
        let receiver = Receiver::start(in_turn(script)).await;
        let (sender, url) = (sender(), receiver.url("/"));
        assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered);
        let exchange = sender.send(post(&url)).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{closing:?}: {exchange:?}");
        assert_eq!((exchange.error, &exchange.response_body[..]), (None, &b"second"[..]));
        let requests = receiver.requests();
        let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
        assert_eq!(connections, [1, 1, 2], "{closing:?}");
        assert_eq!(requests[1], Received { connection: 1, ..requests[2].clone() });
    }
}

#[tokio::test]
async fn a_fresh_connection_that_is_closed_without_an_answer_has_outcome_reset() {
    let receiver = Receiver::start(in_turn(vec![Behaviour::ok(), Behaviour::close()])).await;
    let (sender, url) = (sender(), receiver.url("/"));
    assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered);
    assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Reset);
    assert_eq!(receiver.requests().len(), 3, "once on the reused, once on a fresh connection");
    assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Reset);
    assert_eq!(receiver.requests().len(), 4, "once: no connection was left to reuse");
}

#[tokio::test]
async fn a_reused_connection_that_is_closed_within_the_answer_has_outcome_reset() {
    let begun = Behaviour::Raw(b"HTTP/1.1 20".to_vec());
    let receiver = Receiver::start(in_turn(vec![Behaviour::ok(), begun, Behaviour::ok()])).await;
    let (sender, url) = (sender(), receiver.url("/"));
    assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered);
    assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Reset);
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn a_408_that_ends_an_idle_connection_is_no_answer_to_the_next_request() {
    let timed_out = Behaviour::status(408).header("connection", "close");
    let receiver =
        Receiver::start(in_turn(vec![Behaviour::ok(), timed_out, Behaviour::ok()])).await;
    let (sender, url) = (sender(), receiver.url("/"));
    for _ in 0..2 {
        assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered);
    }
    assert_eq!((receiver.requests().len(), receiver.connections()), (3, 2));

    // On a new connection, or with the connection left open, it is the answer.
    let closing = Behaviour::status(408).header("connection", "close");
    for script in [vec![closing], vec![Behaviour::ok(), Behaviour::status(408)]] {
        let count = script.len();
        receiver.close_connections().await;
        receiver.set_script(in_turn(script));
        for _ in 1..count {
            assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered);
        }
        assert_eq!(sender.send(post(&url)).await.outcome, Outcome::TryLater);
    }
}

#[tokio::test]
async fn a_connection_with_bytes_after_the_response_is_not_used_again() {
    let forged = "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n";
    let answers = [
        format!("HTTP/1.1 204 No Content\r\ncontent-length: 38\r\n\r\n{forged}"),
        "HTTP/1.1 204 No Content\r\ncontent-length: 38\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        format!("HTTP/1.1 204 No Content\r\n\r\n{forged}"),
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{forged}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{forged}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{forged}"),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        let script = vec![Behaviour::RawThenReadOn(answer.clone().into_bytes()), Behaviour::ok()];
        let receiver = Receiver::start(in_turn(script)).await;
        let (sender, url) = (sender(), receiver.url("/"));
        let first = sender.send(post(&url)).await;
        assert_eq!(first.outcome, Outcome::of_status(first.status.unwrap()), "{answer:?}");
        assert_eq!(first.status.unwrap().to_string(), answer[9..12], "{answer:?}");
        let second = sender.send(post(&url)).await;
        assert_eq!((second.outcome, second.status), (Outcome::Delivered, Some(200)), "{answer:?}");
        assert_eq!(receiver.connections(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_whose_response_ended_as_announced_is_used_again() {
    let answers = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nbad header\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    for answer in answers {
        let raw = Behaviour::RawThenReadOn(answer.as_bytes().to_vec());
        let receiver = Receiver::start(raw).await;
        let (sender, url) = (sender(), receiver.url("/"));
        for _ in 0..3 {
            assert_eq!(sender.send(post(&url)).await.outcome, Outcome::Delivered, "{answer:?}");
        }
        assert_eq!(receiver.connections(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn connections_that_the_receiver_closed_while_idle_cost_no_attempt() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let (sender, url) = (sender(), receiver.url("/"));
    let send_some = async || {
        let sends = (0..8).map(|_| sender.send(post(&url)));
        for exchange in futures_util::future::join_all(sends).await {
            assert_eq!((exchange.outcome, exchange.error), (Outcome::Delivered, None));
        }
    };
    send_some().await;
    receiver.close_connections().await;
    send_some().await;
    assert_eq!(receiver.requests().len(), 16);
}

/// An address on loopback, with this port, that drops SYNs: its accept queue is full.
async fn unresponsive(ip: Ipv4Addr, port: u16) -> (TcpListener, Vec<tokio::net::TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    let address = SocketAddr::from((ip, port));
    socket.bind(address).unwrap();
    let listener = socket.listen(0).unwrap();
    let waiting = vec![tokio::net::TcpStream::connect(address).await.unwrap()];
    (listener, waiting)
}

#[tokio::test]
async fn a_dead_first_address_does_not_keep_the_others_from_being_tried() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let port = receiver.address().port();
    let _dead = unresponsive(Ipv4Addr::new(127, 0, 0, 2), port).await;
    let names = TableResolver::on_loopback(&[]);
    // The second refuses, the third accepts.
    names.set("several.test", vec![Answer::addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"])]);
    names.set("dead.test", vec![Answer::addresses(&["127.0.0.2", "127.0.0.2"])]);
    names.set("refusing.test", vec![Answer::addresses(&["127.0.0.3", "127.0.0.4"])]);
    let sender = sender_with(&names, Vec::new());
    let url = receiver.url_at("several.test", "/");
    let exchange = sender.send(post(&url)).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");

    let exchange = super::send_short(&sender, &receiver.url_at("dead.test", "/")).await;
    assert_eq!(exchange.outcome, Outcome::Timeout, "{exchange:?}");
    let exchange = sender.send(post(&receiver.url_at("refusing.test", "/"))).await;
    assert_eq!(exchange.outcome, Outcome::Connect, "{exchange:?}");
    assert_eq!(message(&exchange), "connecting failed: connection refused");
}

#[tokio::test]
async fn the_other_address_family_is_tried_when_the_first_one_fails() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let names = TableResolver::on_loopback(&[]);
    // Nothing listens on ::1.
    names.set("mixed.test", vec![Answer::addresses(&["::1", "127.0.0.1"])]);
    let networks = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let policy = AddressPolicy::new(networks);
    let sender = Sender::new(super::options(policy, &names, Vec::new())).unwrap();
    let exchange = sender.send(post(&receiver.url_at("mixed.test", "/"))).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
}

#[tokio::test]
async fn host_names_with_underscores_are_resolved() {
    let names: Arc<TableResolver> = TableResolver::on_loopback(&["my_service", "_a._b.test"]);
    let receiver = Receiver::start(Behaviour::ok()).await;
    let sender = sender_with(&names, Vec::new());
    for host in ["my_service", "_a._b.test"] {
        let exchange = sender.send(post(&receiver.url_at(host, "/"))).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{host}: {exchange:?}");
        let arrived = receiver.requests().pop().unwrap();
        let port = receiver.address().port();
        assert_eq!(arrived.header("host"), Some(format!("{host}:{port}").as_str()));
    }
}

#[tokio::test]
async fn an_exchange_over_tls_is_retried_on_a_fresh_connection_too() {
    let authority = Authority::new();
    let server = authority.server("receiver.test", Kind::Good);
    let script = vec![Behaviour::ok(), Behaviour::close(), Behaviour::ok()];
    let receiver = Receiver::start_tls(in_turn(script), server).await;
    let names = TableResolver::on_loopback(&["receiver.test"]);
    let sender = sender_with(&names, vec![authority.root()]);
    let url = receiver.url_at("receiver.test", "/");
    for _ in 0..2 {
        let exchange = sender.send(post(&url)).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    }
    assert_eq!((receiver.requests().len(), receiver.connections()), (3, 2));
}

#[tokio::test]
async fn a_connect_for_which_this_machine_has_no_descriptor_is_not_the_receivers_failure() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let (sender, url) = (sender(), receiver.url("/"));
    let limits = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(200), maximum: limits.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let exchange = sender.send(post(&url)).await;
    let fetched = sender.fetch(post(&url)).await;
    drop(taken);
    setrlimit(Resource::Nofile, limits).unwrap();

    assert_eq!(exchange.local, Some(LocalResource::Descriptors), "{exchange:?}");
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Connect, None));
    assert_eq!(message(&exchange), "this machine has no file descriptor left");
    assert_eq!(fetched.unwrap_err().local, Some(LocalResource::Descriptors));
    let exchange = sender.send(post(&url)).await;
    assert_eq!((exchange.outcome, exchange.local), (Outcome::Delivered, None));
}

#[tokio::test]
async fn a_lookup_for_which_this_machine_has_no_descriptor_is_not_the_receivers_failure() {
    let names = TableResolver::on_loopback(&[]);
    let options = super::options(AddressPolicy::default(), &names, Vec::new());
    let sender = Sender::new(SenderOptions { resolver: None, ..options }).unwrap();
    let limits = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(200), maximum: limits.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let exchange = sender.send(post("http://receiver.test/")).await;
    drop(taken);
    setrlimit(Resource::Nofile, limits).unwrap();
    assert_eq!(exchange.local, Some(LocalResource::Descriptors), "{exchange:?}");
    assert_eq!(exchange.outcome, Outcome::Dns);
}

#[tokio::test]
async fn a_failure_of_the_receiver_is_not_local() {
    let exchange = sender().send(post(&format!("http://{}/", super::closed_port()))).await;
    assert_eq!((exchange.outcome, exchange.local), (Outcome::Connect, None));
}
