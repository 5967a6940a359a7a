//! From messages of one source to a write, as far as the source's limits admit them.

use std::sync::Arc;

use bytes::Bytes;

use super::super::admitted::Admitted;
use super::super::message::{Messages, RequestContext, RowIds};
use super::super::outbox::OutboxWrite;
use super::super::slots::ReservedSlots;
use super::super::tracking_api::Intake;
use crate::domain::source_limiter::LimitReached;
use crate::routing::SourceRoute;

/// A message of an inbox.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) body: Bytes,
    pub(super) ids: RowIds,
}

/// The first messages of a source, routed.
pub(super) struct Routed {
    pub(super) write: OutboxWrite,
    pub(super) slots: ReservedSlots,
    /// The limit that keeps the rest waiting.
    pub(super) limit: Option<LimitReached>,
}

impl Routed {
    /// Routes messages, as many as the source may send now.
    pub(super) fn of(intake: &Intake, source: &Arc<SourceRoute>, messages: &[Message]) -> Self {
        let now = intake.clock.moment();
        let (admitted, count, limit) =
            Admitted::take_up_to(&intake.limiter, source, messages.len(), now);
        let context = RequestContext {
            source_id: source.id,
            received_at: now.wall,
            message_ids: &intake.message_ids,
            trace: None,
        };
        let mut write = OutboxWrite::new(Arc::clone(source), now, count);
        let rows = messages.iter().take(count).map(|it| (&it.body, &it.ids));
        let slots =
            write.fill(Messages::of_rows(rows).read(&context), Arc::clone(&intake.dispatch));
        write.admitted = Some(admitted);
        Self { write, slots, limit }
    }
}
