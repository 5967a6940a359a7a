//! Arrivals: what came in, whether its signatures are right, and what it was answered.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::verify::Verdict;
use crate::domain::clock::Timestamp;
use crate::json::{self, Value};

/// One request that was taken.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When its body was whole.
    pub arrived_at: Timestamp,
    /// POST, PUT or PATCH.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// Every header.
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub body: Bytes,
    /// Of `X-Signature`.
    pub signature: Verdict,
    /// Of `webhook-signature`, with its id and time.
    pub standard: Verdict,
    /// Which arrival of its `webhook-id` on this path it is, from 1.
    pub tried: u32,
    /// The status it was answered.
    pub answered: StatusCode,
}

impl Arrival {
    /// The `webhook-id`, when it has a readable one.
    #[must_use]
    pub fn webhook_id(&self) -> Option<&str> {
        webhook_id(&self.headers)
    }

    /// How many events it carries, when it is a batch.
    #[must_use]
    pub fn batch_size(&self) -> Option<usize> {
        match json::parse(&self.body) {
            Ok(Value::Array(events)) => Some(events.len()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether every signature that could be checked is right; false when none could.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let verdicts = [self.signature, self.standard];
        verdicts.contains(&Verdict::Verified)
            && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Verified | Verdict::Absent))
    }
}

pub(super) fn webhook_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("webhook-id").and_then(|id| id.to_str().ok())
}
