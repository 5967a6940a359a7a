//! Attempts: one HTTP request for a delivery each, append-only, with an outcome from a closed set.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::id::{AttemptId, DeliveryId, NodeId, RevisionId};
use crate::domain::clock::Timestamp;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// 5xx.
    ServerError,
    /// 408, 425 or 429.
    TryLater,
    /// Any other 4xx.
    Rejected,
    /// 3xx; never followed.
    Redirect,
    /// No complete answer within the timeout; the error names the phase.
    Timeout,
    /// The host name does not resolve.
    Dns,
    /// The TCP connection failed.
    Connect,
    /// The TLS handshake or the verification of the certificate failed; no request was sent.
    Tls,
    /// The connection was reset before the answer was complete.
    Reset,
    /// The answer is not valid HTTP.
    BadAnswer,
    /// The request could not be rendered from the event; nothing was sent.
    Render,
    /// SSRF protection refused the address; nothing was sent.
    Address,
    /// No token could be obtained: nothing was sent, or the receiver refused the token and it could not be
    /// renewed.
    Auth,
    /// The lease expired without an outcome: the request may have arrived.
    Unknown,
    /// The insert function threw, or returned no event; nothing was sent.
    Function,
    /// The insert function asked for a retry; nothing was sent.
    FunctionRetry,
    /// The insert function timed out, or its process died; nothing was sent.
    FunctionTimeout,
    /// The insert function dropped the event; nothing was sent.
    Dropped,
}

/// What an outcome means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is delivered.
    Delivered,
    /// It is discarded.
    Dropped,
    /// It is retried until its deadline.
    Retried,
    /// It is a dead letter at once.
    Dead,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Self; 19] = [
        Self::Delivered,
        Self::ServerError,
        Self::TryLater,
        Self::Rejected,
        Self::Redirect,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::BadAnswer,
        Self::Render,
        Self::Address,
        Self::Auth,
        Self::Unknown,
        Self::Function,
        Self::FunctionRetry,
        Self::FunctionTimeout,
        Self::Dropped,
    ];

    /// The outcome of an answer with this HTTP status.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            300..=399 => Self::Redirect,
            408 | 425 | 429 => Self::TryLater,
            400..=499 => Self::Rejected,
            500..=599 => Self::ServerError,
            _ => Self::BadAnswer,
        }
    }

    /// What it means for the delivery.
    #[must_use]
    pub const fn effect(self) -> Effect {
        match self {
            Self::Delivered => Effect::Delivered,
            Self::Dropped => Effect::Dropped,
            Self::Rejected | Self::Redirect | Self::Render | Self::Address | Self::Function => {
                Effect::Dead
            }
            Self::ServerError
            | Self::TryLater
            | Self::Timeout
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Reset
            | Self::BadAnswer
            | Self::Auth
            | Self::Unknown
            | Self::FunctionRetry
            | Self::FunctionTimeout => Effect::Retried,
        }
    }

    /// Whether a batch with this outcome is split: one of its events may be what the receiver rejected.
    #[must_use]
    pub const fn splits_batch(self) -> bool {
        match self {
            Self::Rejected => true,
            Self::Delivered
            | Self::ServerError
            | Self::TryLater
            | Self::Redirect
            | Self::Timeout
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Reset
            | Self::BadAnswer
            | Self::Render
            | Self::Address
            | Self::Auth
            | Self::Unknown
            | Self::Function
            | Self::FunctionRetry
            | Self::FunctionTimeout
            | Self::Dropped => false,
        }
    }

    /// The name in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::ServerError => "server_error",
            Self::TryLater => "try_later",
            Self::Rejected => "rejected",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::BadAnswer => "bad_answer",
            Self::Render => "render",
            Self::Address => "address",
            Self::Auth => "auth",
            Self::Unknown => "unknown",
            Self::Function => "function",
            Self::FunctionRetry => "function_retry",
            Self::FunctionTimeout => "function_timeout",
            Self::Dropped => "dropped",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// An attempt to be recorded.
///
/// In a batch, the request and its answer are the batch's, and the fields from `url` on are empty here.
/// [`NewAttempt::exchange`] has them either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The node that made it.
    pub node_id: NodeId,
    /// The mapping revision it was rendered with.
    pub revision_id: RevisionId,
    /// When it started.
    pub started_at: Timestamp,
    /// From the start to the complete answer or the error, in microseconds.
    pub duration_us: u64,
    /// Its outcome.
    pub outcome: Outcome,
    /// The answer's HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The error with its cause; when delivered, what was wrong with the answer's body.
    pub error: Option<String>,
    /// The insert function's console output, truncated.
    pub console: Option<String>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, `name: value` a line, secrets masked.
    pub request_headers: String,
    /// SHA-256 of the request's body; none when it could not be rendered.
    pub body_sha256: Option<[u8; 32]>,
    /// The answer's headers, `name: value` a line.
    pub response_headers: String,
    /// The answer's body, truncated.
    pub response_body: Bytes,
    /// Whether the answer's body was truncated.
    pub response_truncated: bool,
    /// The batch that it was part of; none for a request of its own.
    pub batch: Option<Arc<Batch>>,
}

/// A request with several deliveries: what their attempts share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The `webhook-id` it was sent under.
    pub webhook_id: String,
    /// How many deliveries it carried.
    pub size: u32,
    /// The answer's HTTP status; its attempts have their items' statuses, where the answer is a 207.
    pub status: Option<u16>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, `name: value` a line, secrets masked.
    pub request_headers: String,
    /// SHA-256 of the request's body.
    pub body_sha256: [u8; 32],
    /// The answer's headers, `name: value` a line.
    pub response_headers: String,
    /// The answer's body, truncated.
    pub response_body: Bytes,
    /// Whether the answer's body was truncated.
    pub response_truncated: bool,
}

/// The request and the answer of an attempt, its own or its batch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRef<'a> {
    /// The request's URL.
    pub url: &'a str,
    /// The request's headers, `name: value` a line, secrets masked.
    pub request_headers: &'a str,
    /// SHA-256 of the request's body; none when it could not be rendered.
    pub body_sha256: Option<[u8; 32]>,
    /// The answer's headers, `name: value` a line.
    pub response_headers: &'a str,
    /// The answer's body, truncated.
    pub response_body: &'a Bytes,
    /// Whether the answer's body was truncated.
    pub response_truncated: bool,
}

impl NewAttempt {
    /// An attempt without a request, or whose request is unknown.
    #[must_use]
    pub const fn unsent(
        node_id: NodeId,
        revision_id: RevisionId,
        started_at: Timestamp,
        outcome: Outcome,
    ) -> Self {
        Self {
            node_id,
            revision_id,
            started_at,
            duration_us: 0,
            outcome,
            status: None,
            error: None,
            console: None,
            url: String::new(),
            request_headers: String::new(),
            body_sha256: None,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            batch: None,
        }
    }

    /// The request and the answer.
    #[must_use]
    pub fn exchange(&self) -> ExchangeRef<'_> {
        match &self.batch {
            None => ExchangeRef {
                url: &self.url,
                request_headers: &self.request_headers,
                body_sha256: self.body_sha256,
                response_headers: &self.response_headers,
                response_body: &self.response_body,
                response_truncated: self.response_truncated,
            },
            Some(batch) => ExchangeRef {
                url: &batch.url,
                request_headers: &batch.request_headers,
                body_sha256: Some(batch.body_sha256),
                response_headers: &batch.response_headers,
                response_body: &batch.response_body,
                response_truncated: batch.response_truncated,
            },
        }
    }
}

/// A recorded attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The key.
    pub id: AttemptId,
    /// Its delivery.
    pub delivery_id: DeliveryId,
    /// The fencing token of its lease; increases with each lease of the delivery.
    pub number: u32,
    /// Whether it was recorded after the lease was lost: then it did not change the delivery's state.
    pub late: bool,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The attempt as it was recorded.
    pub result: NewAttempt,
}
