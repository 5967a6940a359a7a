//! An attempt as the API returns it, and the result that attempts and test sends have in common.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::attempt::{Attempt, NewAttempt};
use crate::domain::id::{Noun, PublicId};

/// How a test ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// The mapping revision: its number in the database.
    pub revision: i64,
    /// When it began.
    pub started_at: String,
    /// How long the request took, in microseconds.
    pub duration_us: u64,
    /// How it ended, in the words of attempts.
    pub outcome: String,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The answer's headers, a line each.
    pub response_headers: String,
    /// The answer's body as far as it is kept; what is not UTF-8 in it is replaced.
    pub response_body: String,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
}

/// An attempt as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its id.
    pub id: String,
    /// Which try of the delivery it was.
    pub number: u32,
    /// Recorded after its lease was lost.
    pub late: bool,
    /// The process that made it: its number in the database's list of nodes.
    pub node: i64,
    /// The revision, the outcome and the response.
    #[serde(flatten)]
    pub result: ResultView,
    /// What its insert function wrote to the console, a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, a line each, secrets masked.
    pub request_headers: String,
    /// The span that it was of its event's trace, as the receiver was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// SHA-256 of the request's body, in hex.
    pub body_sha256: Option<String>,
    /// The batch that it was part of: request and answer are those of the whole batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchView>,
}

/// A batch as its attempts show it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// The `webhook-id` it was sent under.
    pub webhook_id: String,
    /// How many deliveries it carried.
    pub size: u32,
    /// The HTTP status of the answer to all of it.
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
        let made = &attempt.made;
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
