//! An arrival: a received webhook with the verdicts on its signatures and the response's status.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::verify::{self, Verdict};
use crate::domain::clock::Timestamp;
use crate::json::{self, Value};

/// A received webhook.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When its body was complete.
    pub arrived_at: Timestamp,
    /// POST, PUT or PATCH.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// Every header.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Bytes,
    /// The verdict on `X-Signature`.
    pub signature: Verdict,
    /// The verdict on `webhook-signature` with its id and timestamp.
    pub standard: Verdict,
    /// The ordinal of this arrival of its `webhook-id` on this path, from 1.
    pub tried: u32,
    /// The status of the response.
    pub answered: StatusCode,
}

impl Arrival {
    /// The `webhook-id`, if there is one in ASCII.
    #[must_use]
    pub fn webhook_id(&self) -> Option<&str> {
        verify::webhook_id(&self.headers)
    }

    /// The number of events, if the body is a batch.
    #[must_use]
    pub fn batch_size(&self) -> Option<usize> {
        match json::parse(&self.body) {
            Ok(Value::Array(events)) => Some(events.len()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether every signature that could be checked is valid; false when none could.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let verdicts = [self.signature, self.standard];
        verdicts.contains(&Verdict::Verified)
            && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Verified | Verdict::Absent))
    }
}
