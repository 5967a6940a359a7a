//! The phases of a request, so that a timeout names the one in which it expired.

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// DNS resolution of the host.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// The response's head. The request's bytes are in the socket by now; whether the receiver has
    /// read them is unknown.
    Head,
    /// The rest of the response's body.
    Body,
}

impl Phase {
    /// The phase as a timeout's message names it.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the host's name (DNS)",
            Self::Connect => "connecting (TCP)",
            Self::Handshake => "in the TLS handshake",
            Self::Head => "sending the request or waiting for the response's head",
            Self::Body => "reading the response's body",
        }
    }
}
