//! TCP connections to a host with several addresses (Happy Eyeballs, RFC 8305): attempts start one after
//! another, a short delay apart or when one fails, IPv6 and IPv4 in turns; the first that connects is used.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::local_resource::LocalResource;

/// How long an attempt has before the next address is tried beside it (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// No address could be connected to.
#[derive(Debug)]
pub(super) struct ConnectError {
    /// The error of the address that says most.
    pub(super) error: io::Error,
    /// What this machine lacked to try an address.
    pub(super) local: Option<LocalResource>,
}

/// Connects to the first of these addresses that accepts.
pub(super) async fn connect(addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, ConnectError> {
    let mut waiting = in_turns(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut error: Option<ConnectError> = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(attempt(SocketAddr::new(address, port)));
        } else if attempts.is_empty() {
            return Err(error.unwrap_or_else(ConnectError::no_address));
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.next() => match ended {
                Ok(stream) => {
                    // Without it a request's last packet may wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(new) => {
                    error = match error {
                        Some(old) if old.says() >= new.says() => Some(old),
                        Some(_) | None => Some(new),
                    };
                }
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if !waiting.is_empty() => {}
        }
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    TcpStream::connect(address).await.map_err(|error| {
        let local = LocalResource::exhausted_by_connect(&error, address);
        ConnectError { error, local }
    })
}

/// The addresses in the resolver's order, the two families in turns.
fn in_turns(addresses: Vec<IpAddr>) -> VecDeque<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = VecDeque::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        ordered.extend(first.next().into_iter().chain(second.next()));
    }
    ordered
}

impl ConnectError {
    fn no_address() -> Self {
        Self { error: io::ErrorKind::NotFound.into(), local: None }
    }

    /// How much it says. An address that this machine could not try may be the one that accepts; a
    /// family that it cannot reach at all is nothing unusual.
    fn says(&self) -> u8 {
        let cannot_reach = matches!(
            self.error.kind(),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable
        );
        match self.local {
            Some(_) => 2,
            None if cannot_reach => 0,
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_in_the_order_of_the_resolver() {
        let ordered = |given: &[&str]| {
            let addresses = given.iter().map(|text| text.parse().expect("an address")).collect();
            let ordered = in_turns(addresses).into_iter();
            ordered.map(|address: IpAddr| address.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ordered(&["1.1.1.1", "1.1.1.2", "::1", "::2"]), "1.1.1.1 ::1 1.1.1.2 ::2");
        assert_eq!(ordered(&["::1", "::2", "::3", "1.1.1.1"]), "::1 1.1.1.1 ::2 ::3");
        assert_eq!(ordered(&["1.1.1.1"]), "1.1.1.1");
        assert_eq!(ordered(&[]), "");
    }

    #[tokio::test]
    async fn without_an_address_it_fails() {
        let failed = connect(Vec::new(), 80).await.expect_err("no address");
        assert_eq!((failed.error.kind(), failed.local), (io::ErrorKind::NotFound, None));
    }

    #[test]
    fn the_error_that_says_most_is_returned() {
        let error = |kind: io::ErrorKind, local| ConnectError { error: kind.into(), local }.says();
        let refused = error(io::ErrorKind::ConnectionRefused, None);
        assert!(refused > error(io::ErrorKind::NetworkUnreachable, None));
        assert!(refused > error(io::ErrorKind::AddrNotAvailable, None));
        let ports = error(io::ErrorKind::AddrNotAvailable, Some(LocalResource::Ports));
        assert!(ports > refused);
    }
}
