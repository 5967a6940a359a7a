//! How far a request has come, so that a timeout can say in words what was being waited for.

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The addresses of the host's name.
    Resolve,
    /// A TCP connection.
    Connect,
    /// A TLS session.
    Handshake,
    /// The answer's head. The request's bytes are handed to the system by now; whether the
    /// receiver has taken them is not known.
    Head,
    /// The rest of the answer's body.
    Body,
}

impl Phase {
    /// What was being done, for a timeout's words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Resolve => "looking up the host's name (DNS)",
            Self::Connect => "connecting (TCP)",
            Self::Handshake => "in the TLS handshake",
            Self::Head => "sending the request or waiting for the answer's head",
            Self::Body => "reading the answer's body",
        }
    }
}
