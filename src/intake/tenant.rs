//! Whose share of intake a request takes: its source's, or, until its write key is read from the body, its
//! peer's.

use std::net::IpAddr;

use crate::domain::id::SourceId;

/// A holder of shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tenant {
    /// The source of the write key in the head.
    Source(SourceId),
    /// The address of the connection; none where it is not known.
    Peer(Option<IpAddr>),
}
