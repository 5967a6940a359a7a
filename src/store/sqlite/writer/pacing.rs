//! Throttling of claims, records and bulk steps ("work") while events arrive: a transaction takes as many rows
//! of work as of events, or a few; after more than that, work is throttled for as long as the transaction took.
//! So the commit latency of an event does not grow with the backlog. Where an fsync is slow, a transaction takes
//! as many rows of work as take about as long as the fsync, and as many events as take a few times as long: an
//! event waits for the transaction before its own too.

use std::time::{Duration, Instant};

/// Rows of work that a transaction takes beside few events, where an fsync is fast.
pub(super) const WORK: usize = 64;
/// The same at most, however slow an fsync is.
const MAX_WORK: usize = 1_024;
/// Events that a transaction takes, where an fsync is fast and where it is slow.
const EVENTS: usize = 256;
const MAX_EVENTS: usize = 2_048;
/// How many times as many events as rows of work a transaction takes.
const EVENTS_FACTOR: usize = 2;
/// About what a row of work costs, without the fsync.
const ROW_TIME: Duration = Duration::from_micros(25);
/// Events count as arriving while the last one is no older. Without events nothing is throttled.
const ARRIVING: Duration = Duration::from_millis(100);

/// When events arrived, and until when work is throttled.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    event_at: Option<Instant>,
    throttled_until: Option<Instant>,
    /// How long the last `COMMIT` took.
    fsync: Duration,
}

/// How much work a transaction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Rows, where its events have fewer.
    pub(super) rows: usize,
    /// Whether a claim for more rows is served in parts.
    pub(super) in_parts: bool,
    /// Events.
    pub(super) events: usize,
}

impl Pacing {
    /// What the next transaction may take.
    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        let rows = if self.throttled_until(now).is_some() { 0 } else { self.rows() };
        let events = self.rows().saturating_mul(EVENTS_FACTOR).clamp(EVENTS, MAX_EVENTS);
        Allowance { rows, in_parts: self.is_arriving(now), events }
    }

    /// Until when work is throttled, if it is.
    pub(super) fn throttled_until(&self, now: Instant) -> Option<Instant> {
        self.throttled_until.filter(|until| *until > now)
    }

    /// Notes a commit with so many rows of events and of work.
    pub(super) fn committed(&mut self, began: Instant, now: Instant, events: usize, work: usize) {
        if events > 0 {
            self.event_at = Some(now);
        }
        if work > events && self.is_arriving(began) {
            self.throttled_until = Some(now + (now - began));
        }
    }

    /// Notes how long a `COMMIT` took.
    pub(super) const fn note_fsync(&mut self, took: Duration) {
        self.fsync = took;
    }

    /// Rows whose cost is about that of an fsync, within bounds.
    fn rows(&self) -> usize {
        let rows = self.fsync.as_micros() / ROW_TIME.as_micros();
        usize::try_from(rows).unwrap_or(MAX_WORK).clamp(WORK, MAX_WORK)
    }

    fn is_arriving(&self, now: Instant) -> bool {
        self.event_at.is_some_and(|at| now.saturating_duration_since(at) < ARRIVING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn work(rows: usize, in_parts: bool) -> Allowance {
        Allowance { rows, in_parts, events: EVENTS }
    }

    #[test]
    fn work_is_throttled_after_more_of_it_than_of_events_for_as_long_as_it_took() {
        let (mut pacing, start) = (Pacing::default(), Instant::now());
        pacing.committed(start, start + MS, 10, 10);
        let now = start + MS;
        assert_eq!(pacing.allowance(now), work(WORK, true));
        pacing.committed(now, now + 3 * MS, 2, 64);
        let now = now + 3 * MS;
        assert_eq!(pacing.throttled_until(now), Some(now + 3 * MS));
        assert_eq!(pacing.allowance(now + MS), work(0, true));
        pacing.committed(now + MS, now + 2 * MS, 2, 2);
        let until = pacing.throttled_until(now + 2 * MS);
        assert_eq!(until, Some(now + 3 * MS), "events do not end it");
        assert_eq!(pacing.allowance(now + 3 * MS).rows, WORK, "it has ended");
    }

    #[test]
    fn with_a_slow_fsync_a_transaction_takes_as_many_rows_as_take_that_long() {
        let (mut pacing, now) = (Pacing::default(), Instant::now());
        for (fsync, rows, events) in
            [(MS, 64, 256), (5 * MS, 200, 400), (10 * MS, 400, 800), (500 * MS, 1_024, 2_048)]
        {
            pacing.note_fsync(fsync);
            assert_eq!(
                pacing.allowance(now),
                Allowance { rows, in_parts: false, events },
                "{fsync:?}"
            );
        }
    }

    #[test]
    fn work_is_not_throttled_where_no_events_arrive() {
        let (mut pacing, start) = (Pacing::default(), Instant::now());
        pacing.committed(start, start + MS, 0, 64);
        assert_eq!(pacing.allowance(start + MS), work(WORK, false));
        pacing.committed(start, start + MS, 1, 0);
        let later = start + MS + ARRIVING;
        pacing.committed(later, later + MS, 0, 64);
        assert_eq!(pacing.allowance(later + MS), work(WORK, false));
    }
}
