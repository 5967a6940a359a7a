//! New connections: DNS resolution with SSRF protection, TCP with Happy Eyeballs, TLS handshake.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::connection::{Connection, Stream};
use super::failure::{self, Failure};
use super::happy_eyeballs;
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
        // The scheme is http or https, whose default port is known.
        let port = url.port_or_known_default().unwrap_or_default();
        let stream = happy_eyeballs::connect(addresses, port)
            .await
            .map_err(|failed| failure::of_connect(&failed.error, failed.local))?;
        let stream = if url.scheme() == "https" {
            *phase = Phase::Handshake;
            self.handshake(url, stream).await?
        } else {
            Stream::Left(stream)
        };
        Ok(Connection::on(stream, &url[..Position::BeforePath]))
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
