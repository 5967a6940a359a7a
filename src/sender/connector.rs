//! New connections: DNS resolution with SSRF protection, TCP with Happy Eyeballs, TLS handshake.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::{Host, Position, Url};

use super::connection::{Connection, Stream};
use super::failure::{self, Failure};
use super::phase::Phase;
use super::resolver::GuardedResolver;

/// Opens connections.
pub(super) struct Connector {
    resolver: GuardedResolver,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(resolver: GuardedResolver, tls: ClientConfig) -> Self {
        Self { resolver, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// Connects to the URL's origin. The caller has checked an address literal; a name's addresses are
    /// checked here. `phase` follows the progress.
    pub(super) async fn connect(
        &self,
        url: &Url,
        phase: &mut Phase,
    ) -> Result<Box<Connection>, Failure> {
        let addresses = match url.host() {
            Some(Host::Domain(name)) => {
                *phase = Phase::Resolve;
                self.resolver.addresses(name).await.map_err(|error| failure::of_host(&error))?
            }
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            None => Vec::new(),
        };
        *phase = Phase::Connect;
        let stream = tcp(url, addresses).await?;
        let stream = if url.scheme() == "https" {
            *phase = Phase::Handshake;
            self.handshake(url, stream).await?
        } else {
            Stream::Left(stream)
        };
        Connection::on(stream, &url[..Position::BeforePath])
            .await
            .map_err(|error| failure::of_http(&error))
    }

    async fn handshake(&self, url: &Url, stream: TcpStream) -> Result<Stream, Failure> {
        let name = match url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::V6(address)),
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|cause| {
                failure::tls(&format!("not a name that a certificate can hold: {cause}"))
            })?,
            None => return Err(failure::tls("the URL has no host")),
        };
        let session = self.tls.connect(name, stream).await;
        session
            .map(|session| Stream::Right(Box::new(session)))
            .map_err(|cause| failure::of_handshake(&cause))
    }
}

/// Connects to the first address that accepts, IPv4 and IPv6 raced.
async fn tcp(url: &Url, addresses: Vec<IpAddr>) -> Result<TcpStream, Failure> {
    let origin = &url[..Position::BeforePath];
    let origin = origin.parse().map_err(|cause| failure::of_target(&cause))?;
    let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connected = connector.call(origin).await;
    connected.map(|stream| stream.into_inner()).map_err(|cause| failure::of_connect(&cause))
}

/// A resolver for `HttpConnector` that returns addresses resolved and checked before.
#[derive(Clone)]
struct Resolved(Vec<IpAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        // Port 0: the connector substitutes the URL's port.
        let sockets = self.0.iter().map(|address| SocketAddr::new(*address, 0));
        std::future::ready(Ok(sockets.collect::<Vec<_>>().into_iter()))
    }
}
