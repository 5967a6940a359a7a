//! The sender against real sockets: outcomes, SSRF protection, TLS and signatures.

mod addresses;
mod api_client;
mod connections;
mod failures;
mod imperfect_responses;
mod responses;
mod signatures;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use postrider::domain::clock::{ManualClock, Timestamp};
use postrider::sender::{AddressPolicy, Exchange, Sender, SenderOptions, SignedRequest};
use rustls::pki_types::CertificateDer;

use crate::support::resolver::TableResolver;

/// Long enough for any response on loopback; no test asserts on it.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);
/// For tests in which a timeout expires; long enough to reach the phase in which it does.
const SHORT_TIMEOUT: Duration = Duration::from_millis(750);

/// A sender that allows loopback and resolves with `names`.
fn sender_with(names: &Arc<TableResolver>, extra_roots: Vec<CertificateDer<'static>>) -> Sender {
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    Sender::new(options(AddressPolicy::new(loopback), names, extra_roots)).unwrap()
}

/// A sender that allows loopback.
fn sender() -> Sender {
    sender_with(&TableResolver::on_loopback(&["receiver.test"]), Vec::new())
}

fn options(
    policy: AddressPolicy,
    names: &Arc<TableResolver>,
    extra_roots: Vec<CertificateDer<'static>>,
) -> SenderOptions {
    SenderOptions {
        max_connections: 1_024,
        policy,
        user_agent: "Postrider/test".to_owned(),
        response_keep_bytes: 1_024,
        extra_roots,
        resolver: Some(Arc::<TableResolver>::clone(names)),
        // 1994-11-06T08:49:37Z, the date of RFC 9110's examples.
        clock: Arc::new(ManualClock::new(Timestamp::from_micros(784_111_777_000_000))),
    }
}

fn post(url: &str) -> SignedRequest {
    let json = HeaderValue::from_static("application/json");
    SignedRequest {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::from_iter([(http::header::CONTENT_TYPE, json)]),
        spellings: Default::default(),
        body: Bytes::from_static(b"{\"cool\":true}"),
        timeout: LONG_TIMEOUT,
        multistatus_bytes: 0,
    }
}

/// Sends a request with a timeout that is to expire.
async fn send_short(sender: &Sender, url: &str) -> Exchange {
    sender.send(SignedRequest { timeout: SHORT_TIMEOUT, ..post(url) }).await
}

fn message(exchange: &Exchange) -> &str {
    exchange.error.as_deref().unwrap_or_default()
}

/// An address on loopback where nothing listens.
fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
