//! The pace of the work of delivering, claims and records, while events come in: a transaction takes as
//! many rows of it as of events, or a few; after more than that, work rests for as long as it took. So an
//! event waits for little, and a part of the machine stays free for it, however long a backlog is.

use std::time::Duration;

use tokio::time::Instant;

/// Rows of work that a transaction takes beside few events.
pub(super) const WORK: usize = 64;
/// Events come in while the last one is no older. Without them there is nobody to make way for.
const LATELY: Duration = Duration::from_millis(100);

/// When events came, and how long work rests.
#[derive(Debug, Default)]
pub(super) struct Pace {
    event_at: Option<Instant>,
    rests_until: Option<Instant>,
}

/// How much work a transaction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Rows, where its events have fewer.
    pub(super) rows: usize,
    /// Whether a claim that asks for more is served in parts.
    pub(super) in_parts: bool,
}

impl Pace {
    /// What the next transaction may take.
    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        let rows = if self.rest(now).is_some() { 0 } else { WORK };
        Allowance { rows, in_parts: self.is_lately(now) }
    }

    /// Until when work rests, if it does.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// A transaction with so many rows of events and of work has ended.
    pub(super) fn ended(&mut self, began: Instant, now: Instant, events: usize, work: usize) {
        if events > 0 {
            self.event_at = Some(now);
        }
        if work > events && self.is_lately(began) {
            self.rests_until = Some(now + (now - began));
        }
    }

    fn is_lately(&self, now: Instant) -> bool {
        self.event_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn work_rests_after_more_of_it_than_of_events_for_as_long_as_it_took() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.ended(start, start + MS, 10, 10);
        let now = start + MS;
        assert_eq!(pace.allowance(now), Allowance { rows: WORK, in_parts: true });
        pace.ended(now, now + 3 * MS, 2, 64);
        let now = now + 3 * MS;
        assert_eq!(pace.rest(now), Some(now + 3 * MS));
        assert_eq!(pace.allowance(now + MS), Allowance { rows: 0, in_parts: true });
        pace.ended(now + MS, now + 2 * MS, 2, 2);
        assert_eq!(pace.rest(now + 2 * MS), Some(now + 3 * MS), "events do not end it");
        assert_eq!(pace.allowance(now + 3 * MS).rows, WORK, "it has rested");
    }

    #[test]
    fn work_does_not_rest_where_no_events_come() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.ended(start, start + MS, 0, 64);
        assert_eq!(pace.allowance(start + MS), Allowance { rows: WORK, in_parts: false });
        pace.ended(start, start + MS, 1, 0);
        let later = start + MS + LATELY;
        pace.ended(later, later + MS, 0, 64);
        assert_eq!(pace.allowance(later + MS), Allowance { rows: WORK, in_parts: false });
    }
}
