//! One exchange: the request that the caller passes to the sender, and its result.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use super::failure::Failure;
use super::local_resource::LocalResource;
use crate::domain::attempt::Outcome;
use crate::domain::header_spelling::HeaderSpellings;

/// One request with complete and signed headers.
#[derive(Debug)]
pub struct SignedRequest {
    /// POST, PUT or PATCH.
    pub method: Method,
    /// The target.
    pub url: Url,
    /// All headers except those of the connection (`Host`, `Content-Length`, `Connection`, …), which are
    /// dropped when they are present.
    pub headers: HeaderMap,
    /// How their names are written.
    pub spellings: HeaderSpellings,
    /// The exact bytes.
    pub body: Bytes,
    /// The timeout for the whole exchange, connecting included.
    pub timeout: Duration,
    /// The maximum size of a 207 response's body to return whole, in bytes; 0 disables it.
    pub multistatus_bytes: usize,
}

/// The result of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// How it ended.
    pub outcome: Outcome,
    /// The response's HTTP status, once its head was received.
    pub status: Option<u16>,
    /// The error message with its cause; when delivered, what was wrong with the response's body.
    pub error: Option<String>,
    /// What this machine lacked to send the request: the exchange says nothing about the receiver.
    pub local: Option<LocalResource>,
    /// The delay that the receiver's `Retry-After` asks for, for a retryable response.
    pub retry_after: Option<Duration>,
    /// From the start to the whole response or the error.
    pub duration: Duration,
    /// The response's headers, one `name: value` per line.
    pub response_headers: String,
    /// The part of the response's body that is recorded.
    pub response_body: Bytes,
    /// Whether the response's body was longer than the recorded part.
    pub response_truncated: bool,
    /// The whole body of a 207, if requested and within its limit.
    pub multistatus: Option<Bytes>,
}

impl Exchange {
    /// The result when no request was sent.
    #[must_use]
    pub fn unsent(outcome: Outcome, error: String) -> Self {
        Self { error: Some(error), ..Self::empty(outcome) }
    }

    pub(super) const fn empty(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            error: None,
            local: None,
            retry_after: None,
            duration: Duration::ZERO,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            multistatus: None,
        }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        let Failure { outcome, message, local } = failure;
        Self { error: Some(message), local, ..Self::empty(outcome) }
    }
}
