//! Headers that belong to a connection, not to a request: hop-by-hop headers (RFC 9110, 7.6.1) and those
//! that frame a message. The sender alone sets them.

/// Headers that frame a message and name its host.
const FRAMING: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];

/// Headers about a connection, which no receiver may pass on; `Expect` asks for an answer that a sender
/// would have to wait for.
const HOP_BY_HOP: [&str; 9] = [
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Whether a header of this name belongs to the connection; case-insensitive.
#[must_use]
pub fn is_connection_header(name: &str) -> bool {
    is_hop_by_hop(name) || FRAMING.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// Whether a header of this name is hop-by-hop, beside those that frame a message; case-insensitive.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|one| one.eq_ignore_ascii_case(name))
}
