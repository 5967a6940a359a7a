//! Attempts: one HTTP try each, append-only, with an outcome from a closed set.

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
    /// No whole answer within the attempt's time; the error names the phase.
    Timeout,
    /// The host's name has no address.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session, or a certificate that does not verify; no request was sent.
    Tls,
    /// The connection broke before the answer was whole.
    Reset,
    /// What came back is not an HTTP answer.
    BadAnswer,
    /// The request could not be made from the event; nothing was sent.
    Render,
    /// The address is refused by policy; nothing was sent.
    Address,
    /// No token could be got for the request; the receiver was sent nothing, or refused the one
    /// before and there was no other.
    Auth,
    /// The process died or hung: whether the request arrived is not known.
    Unknown,
    /// The insert function threw, or gave no event; nothing was sent.
    Function,
    /// The insert function asked for a retry; nothing was sent.
    FunctionRetry,
    /// The insert function did not end in time, or its process was lost; nothing was sent.
    FunctionTimeout,
    /// The insert function does not want the event; nothing was sent.
    Dropped,
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

    /// The outcome of a whole answer with this HTTP status.
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

    /// The word in tables, URLs, logs and metrics.
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

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What one HTTP try gave, before it is recorded.
///
/// When it was one of a batch, the request and its answer are the batch's: then the fields from `url`
/// on are empty here. [`NewAttempt::exchange`] has them either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// The process that made it.
    pub node_id: NodeId,
    /// The mapping revision it was rendered with.
    pub revision_id: RevisionId,
    /// When it began.
    pub started_at: Timestamp,
    /// From the start to the whole answer or the error, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's HTTP status, when there was one.
    pub status: Option<u16>,
    /// What went wrong, in words that name the cause; none when delivered.
    pub error: Option<String>,
    /// What its insert function wrote to the console, as far as it is kept.
    pub console: Option<String>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, `name: value` a line, secrets masked.
    pub request_headers: String,
    /// SHA-256 of the request's body; none when it could not be rendered.
    pub body_sha256: Option<[u8; 32]>,
    /// The answer's headers, `name: value` a line.
    pub response_headers: String,
    /// The answer's body as far as it is kept.
    pub response_body: Bytes,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
    /// The batch that it was part of.
    pub batch: Option<Arc<Batch>>,
}

/// One request that carried several deliveries: what their attempts have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The `webhook-id` it was sent under.
    pub webhook_id: String,
    /// How many deliveries it carried.
    pub size: u32,
    /// The answer's HTTP status; an attempt in it has the status of its own item, where the answer
    /// had one.
    pub status: Option<u16>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, `name: value` a line, secrets masked.
    pub request_headers: String,
    /// SHA-256 of the request's body.
    pub body_sha256: [u8; 32],
    /// The answer's headers, `name: value` a line.
    pub response_headers: String,
    /// The answer's body as far as it is kept.
    pub response_body: Bytes,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
}

/// The request of an attempt and what came back, wherever they are kept.
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
    /// The answer's body as far as it is kept.
    pub response_body: &'a Bytes,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
}

impl NewAttempt {
    /// An attempt that ended so without a request, or of whose request nothing is known.
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

    /// The request and what came back: its own, or those of its batch.
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
    /// The delivery it was made for.
    pub delivery_id: DeliveryId,
    /// The token of the lease it was made under: rises with each claim of the delivery.
    pub number: u32,
    /// Recorded after the lease was lost: it did not change the delivery's state.
    pub late: bool,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it gave.
    pub made: NewAttempt,
}
