//! A request as the bytes of HTTP/1.1. Headers that belong to the connection are written here only, so that
//! none contradicts the bytes (request smuggling).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use url::Position;

use super::exchange::SignedRequest;
use super::failure::{self, Failure};
use crate::domain::connection_headers::is_connection_header;

/// The longest request target, in bytes.
const MAX_TARGET_BYTES: usize = 64 * 1024 - 1;

/// A request that can be written, more than once if need be.
#[derive(Clone, Debug)]
pub(super) struct EncodedRequest {
    /// The request line and the headers.
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

impl EncodedRequest {
    /// Encodes a request. Connection headers of the caller are dropped, and `user_agent` is sent if it
    /// has none.
    pub(super) fn new(request: &SignedRequest, user_agent: &HeaderValue) -> Result<Self, Failure> {
        let SignedRequest { method, url, headers, spellings, body, .. } = request;
        let target = &url[Position::BeforePath..Position::AfterQuery];
        if target.len() > MAX_TARGET_BYTES {
            return Err(failure::target_too_long());
        }
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut head = Vec::with_capacity(64 + target.len() + host.len() + headers.len() * 64);
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        push(&mut head, spellings.spell(HOST.as_str()), host.as_bytes());
        if !headers.contains_key(USER_AGENT) {
            push(&mut head, spellings.spell(USER_AGENT.as_str()), user_agent.as_bytes());
        }
        for (name, value) in headers {
            if !is_connection_header(name.as_str()) {
                push(&mut head, spellings.spell(name.as_str()), value.as_bytes());
            }
        }
        let mut length = itoa::Buffer::new();
        let length = length.format(body.len()).as_bytes();
        push(&mut head, spellings.spell(CONTENT_LENGTH.as_str()), length);
        head.extend_from_slice(b"\r\n");
        Ok(Self { head: head.into(), body: body.clone() })
    }
}

fn push(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
