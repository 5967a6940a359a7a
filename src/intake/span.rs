//! The trace span of a tracking request: a child in the sender's trace, or the root of a new one.

use std::sync::Arc;
use std::time::Duration;

use super::accept::BatchCounts;
use super::head::RequestHead;
use super::response::IntakeError;
use crate::domain::clock::Timestamp;
use crate::domain::span::{AttributeValue, Span, SpanKind};
use crate::domain::trace::Trace;
use crate::telemetry::traces::Tracer;

/// The span of a request in progress.
pub(super) struct AcceptSpan {
    spans: Tracer,
    trace: Trace,
    parent_id: Option<[u8; 8]>,
}

impl AcceptSpan {
    /// Starts the span. The deliveries' spans become its children.
    pub(super) fn begin(spans: &Tracer, head: &mut RequestHead) -> Self {
        let before = head.trace.as_deref();
        let parent_id = before.map(|it| it.parent_id);
        let trace = before.map_or_else(|| spans.begin(), |it| it.child(spans.span_id()));
        head.trace = Some(Arc::new(trace.clone()));
        Self { spans: spans.clone(), trace, parent_id }
    }

    /// Ends the span with the request's result.
    pub(super) fn end(
        self,
        started_at: Timestamp,
        duration: Duration,
        tally: &Result<BatchCounts, IntakeError>,
    ) {
        let number =
            |count: usize| AttributeValue::Number(i64::try_from(count).unwrap_or(i64::MAX));
        let (attributes, error) = match tally {
            Ok(tally) => {
                let (stored, duplicates) = (number(tally.stored), number(tally.duplicates));
                (vec![("postrider.stored", stored), ("postrider.duplicates", duplicates)], None)
            }
            Err(refusal) => (Vec::new(), Some(refusal.to_string())),
        };
        self.spans.ended(Span {
            trace: self.trace,
            parent_id: self.parent_id,
            name: "accept",
            kind: SpanKind::Server,
            started_at,
            duration,
            attributes,
            error,
        });
    }
}
