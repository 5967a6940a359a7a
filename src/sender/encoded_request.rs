//! A request as the bytes of HTTP/1.1. Headers that belong to the connection are written here only, so that
//! none contradicts the bytes (request smuggling).

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
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
        let SignedRequest { method, url, headers, body, .. } = request;
        let target = &url[Position::BeforePath..Position::AfterQuery];
        if target.len() > MAX_TARGET_BYTES {
            return Err(failure::target_too_long());
        }
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut head = Vec::with_capacity(64 + target.len() + host.len() + headers.len() * 64);
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        push(&mut head, &HOST, host.as_bytes());
        if !headers.contains_key(USER_AGENT) {
            push(&mut head, &USER_AGENT, user_agent.as_bytes());
        }
        for (name, value) in headers {
            if !is_connection_header(name.as_str()) {
                push(&mut head, name, value.as_bytes());
            }
        }
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        Ok(Self { head: head.into(), body: body.clone() })
    }
}

fn push(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
