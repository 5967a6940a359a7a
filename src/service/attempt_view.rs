//! An attempt as the API returns it, and the result that attempts and test sends have in common.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::attempt::{Attempt, NewAttempt};
use crate::domain::id::{Noun, PublicId};

/// The result of an attempt or a test send.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// The id of the mapping revision in the database.
    pub revision: i64,
    /// When it started.
    pub started_at: String,
    /// The duration of the request, in microseconds.
    pub duration_us: u64,
    /// The outcome.
    pub outcome: String,
    /// The HTTP status of the response.
    pub status: Option<u16>,
    /// The error.
    pub error: Option<String>,
    /// The headers of the response, a line each.
    pub response_headers: String,
    /// The body of the response, truncated to what is kept; invalid UTF-8 is replaced.
    pub response_body: String,
    /// Whether the body of the response was truncated.
    pub response_truncated: bool,
}

/// An attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its id.
    pub id: String,
    /// The number of the attempt within the delivery.
    pub number: u32,
    /// Whether it was recorded after its lease was lost.
    pub late: bool,
    /// The id of the node that made it.
    pub node: i64,
    /// The revision, the outcome and the response.
    #[serde(flatten)]
    pub result: ResultView,
    /// The console output of the insert function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// The URL of the request.
    pub url: String,
    /// The headers of the request, a line each, secrets masked.
    pub request_headers: String,
    /// The `traceparent` header of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// SHA-256 of the body of the request, in hex.
    pub body_sha256: Option<String>,
    /// The batch that it was part of: request and response are those of the whole batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchView>,
}

/// The batch of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// The `webhook-id` of the batch.
    pub webhook_id: String,
    /// The number of deliveries in the batch.
    pub size: u32,
    /// The HTTP status of the response to the batch.
    pub status: Option<u16>,
}

impl ResultView {
    pub(super) fn of(made: &NewAttempt) -> Self {
        let exchange = made.exchange();
        Self {
            revision: made.revision_id.0,
            started_at: made.started_at.to_iso(),
            duration_us: made.duration_us,
            outcome: made.outcome.as_str().to_owned(),
            status: made.status,
            error: made.error.clone(),
            response_headers: exchange.response_headers.to_owned(),
            response_body: String::from_utf8_lossy(exchange.response_body).into_owned(),
            response_truncated: exchange.response_truncated,
        }
    }
}

impl AttemptView {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let made = &attempt.result;
        let exchange = made.exchange();
        Self {
            id: PublicId::new(Noun::Attempt, attempt.recorded_at, attempt.id.0).to_string(),
            number: attempt.number,
            late: attempt.late,
            node: made.node_id.0,
            result: ResultView::of(made),
            console: made.console.clone(),
            url: exchange.url.to_owned(),
            request_headers: exchange.request_headers.to_owned(),
            traceparent: traceparent(exchange.request_headers),
            body_sha256: exchange.body_sha256.map(hex::encode),
            batch: made.batch.as_ref().map(|batch| BatchView {
                webhook_id: batch.webhook_id.clone(),
                size: batch.size,
                status: batch.status,
            }),
        }
    }
}

fn traceparent(request_headers: &str) -> Option<String> {
    let mut lines = request_headers.lines();
    lines.find_map(|line| line.strip_prefix("traceparent: ")).map(str::to_owned)
}
