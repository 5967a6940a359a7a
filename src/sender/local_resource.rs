//! What this machine can lack to open a connection: descriptors, ports, memory. That is no fault of the
//! receiver.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;

/// A resource of this machine that was exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalResource {
    /// File descriptors, of the process or of the system.
    Descriptors,
    /// Local ports for connections to one address.
    Ports,
    /// Memory or socket buffers.
    Memory,
}

impl LocalResource {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Ports => "ports",
            Self::Memory => "memory",
        }
    }

    /// The cause in words.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Descriptors => "this machine has no file descriptor left",
            Self::Ports => "this machine has no local port left",
            Self::Memory => "this machine has no memory left for sockets",
        }
    }

    /// The resource that an I/O error says is exhausted.
    pub(super) fn exhausted(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// The resource that the error of a connect to `address` says is exhausted.
    pub(super) fn exhausted_by_connect(error: &io::Error, address: SocketAddr) -> Option<Self> {
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            return has_source_address(address).then_some(Self::Ports);
        }
        Self::exhausted(error)
    }
}

/// What this machine lacks to open any socket.
pub(super) fn lacking_for_a_socket() -> Option<LocalResource> {
    let error = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).err()?;
    LocalResource::exhausted(&error)
}

/// Whether this machine has an address to reach `address` from; sends nothing. Without one, as for IPv6 in
/// many containers, a connect fails as it does without a port.
fn has_source_address(address: SocketAddr) -> bool {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    match UdpSocket::bind(any).and_then(|socket| socket.connect(address)) {
        Ok(()) => true,
        Err(error) => LocalResource::exhausted(&error).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhausted(errno: Errno, address: &str) -> Option<LocalResource> {
        let address = address.parse().expect("an address");
        LocalResource::exhausted_by_connect(&errno.into(), address)
    }

    #[test]
    fn what_this_machine_lacks_is_told_from_what_the_receiver_does() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(exhausted(errno, "127.0.0.1:80"), Some(LocalResource::Descriptors));
        }
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(exhausted(errno, "127.0.0.1:80"), Some(LocalResource::Memory));
        }
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::TIMEDOUT,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::ACCESS,
            Errno::PERM,
        ] {
            assert_eq!(exhausted(errno, "127.0.0.1:80"), None, "{errno}");
        }
    }

    #[test]
    fn no_port_is_left_only_where_there_is_an_address_to_connect_from() {
        assert_eq!(exhausted(Errno::ADDRNOTAVAIL, "127.0.0.1:80"), Some(LocalResource::Ports));
        // A scope that no interface has: nothing can be sent from there.
        assert_eq!(exhausted(Errno::ADDRNOTAVAIL, "[fe80::1%4000000000]:80"), None);
    }
}
