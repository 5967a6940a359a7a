//! The address that a connection came from; a request carries it.

use std::net::IpAddr;

/// The address of a connection's other end. A proxy is one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);
