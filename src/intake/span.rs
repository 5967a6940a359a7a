//! The span of a request to the tracking API: in the sender's trace, or the first of a new one.

use std::sync::Arc;
use std::time::Duration;

use super::Head;
use super::accept::Tally;
use super::answer::Refusal;
use crate::domain::clock::Timestamp;
use crate::domain::span::{Fact, Span, SpanKind};
use crate::domain::trace::Trace;
use crate::telemetry::traces::Tracer;

/// A request that is being accepted.
pub(super) struct AcceptSpan {
    spans: Tracer,
    trace: Trace,
    parent_id: Option<[u8; 8]>,
}

impl AcceptSpan {
    /// Begins it: what follows from the request is a child of it.
    pub(super) fn begin(spans: &Tracer, head: &mut Head) -> Self {
        let before = head.trace.as_deref();
        let parent_id = before.map(|it| it.parent_id);
        let trace = before.map_or_else(|| spans.begin(), |it| it.child(spans.span_id()));
        head.trace = Some(Arc::new(trace.clone()));
        Self { spans: spans.clone(), trace, parent_id }
    }

    /// Ends it with what became of the request.
    pub(super) fn end(
        self,
        started_at: Timestamp,
        duration: Duration,
        tally: &Result<Tally, Refusal>,
    ) {
        let number = |count: usize| Fact::Number(i64::try_from(count).unwrap_or(i64::MAX));
        let (facts, error) = match tally {
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
            facts,
            error,
        });
    }
}
