//! The events of a request, taken out of its source's rate and quota: those that are not accepted go back into the
//! quota.

use std::sync::Arc;

use super::response::IntakeError;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::SourceId;
use crate::domain::source_limiter::{LimitReached, SourceLimiter};
use crate::routing::SourceRoute;

/// Events that were admitted and are not accepted yet.
#[derive(Debug)]
pub(super) struct Admitted {
    limiter: Arc<SourceLimiter>,
    source_id: SourceId,
    admitted_at: Timestamp,
    /// Events to release.
    events: u64,
    /// Whether the source has a daily quota.
    pub(super) is_counted: bool,
}

impl Admitted {
    /// Takes the events of a request.
    pub(super) fn take(
        limiter: &Arc<SourceLimiter>,
        source: &SourceRoute,
        events: usize,
        now: Moment,
    ) -> Result<Self, IntakeError> {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        limiter.take(source.id, &source.limits, events, now).map_err(IntakeError::Limited)?;
        let is_counted = source.limits.daily_quota.is_some();
        Ok(Self {
            limiter: Arc::clone(limiter),
            source_id: source.id,
            admitted_at: now.wall,
            events: if is_counted { events } else { 0 },
            is_counted,
        })
    }

    /// Takes as many events as the source may send now; also why it was not more.
    pub(super) fn take_up_to(
        limiter: &Arc<SourceLimiter>,
        source: &SourceRoute,
        most: usize,
        now: Moment,
    ) -> (Self, usize, Option<LimitReached>) {
        let take = || limiter.take(source.id, &source.limits, 1, now);
        let mut taken = 0;
        let refused = loop {
            if taken == most {
                break None;
            }
            match take() {
                Ok(()) => taken += 1,
                Err(reached) => break Some(reached),
            }
        };
        let is_counted = source.limits.daily_quota.is_some();
        let admitted = Self {
            limiter: Arc::clone(limiter),
            source_id: source.id,
            admitted_at: now.wall,
            events: if is_counted { u64::try_from(taken).unwrap_or(u64::MAX) } else { 0 },
            is_counted,
        };
        (admitted, taken, refused)
    }

    /// So many were stored; the rest were duplicates.
    pub(super) fn settle(mut self, stored: usize) {
        self.events = self.events.saturating_sub(u64::try_from(stored).unwrap_or(u64::MAX));
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.events > 0 {
            self.limiter.release(self.source_id, self.admitted_at, self.events);
        }
    }
}
