//! When a destination's requests may start beside its rate limit: not before the time that its receiver asked
//! for, spread out afterwards; and at an operator's rate while what a pause held drains. No clock and no I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::id::MappingId;
use crate::domain::mapping::Batching;
use crate::domain::pause::Drain;
use crate::domain::service_time::ServiceTime;

/// The longest that a receiver may ask for with one `Retry-After`: it can ask again.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60 * 60);
/// After a wait, requests start at this rate a second, doubled every second, …
const FIRST_RATE: f64 = 4.0;
/// … until there is no limit any more.
const SPREAD: Duration = Duration::from_secs(10);

/// Whose requests go to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Receiver {
    /// Mappings with this origin.
    Origin(Arc<str>),
    /// A mapping whose events decide on the origin.
    Mapping(MappingId),
}

/// A mapping that delivers, as its limiter needs it.
#[derive(Clone, Debug)]
pub(super) struct QueueSettings {
    pub(super) mapping_id: MappingId,
    pub(super) batching: Option<Batching>,
    pub(super) receiver: Receiver,
    /// How what its pause held drains.
    pub(super) drain: Option<Drain>,
    /// Until when its receiver asked for no request, as stored.
    pub(super) wait_until: Option<ServiceTime>,
}

/// What a receiver asked to wait for, and the slow start after it.
#[derive(Clone, Copy, Debug)]
struct Wait {
    until: ServiceTime,
    next_start_at: ServiceTime,
}

/// The waits of a destination's receivers.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_receiver: HashMap<Receiver, Wait>,
    /// Nodes that share the rate of the slow start, beside this one.
    other_nodes: u32,
}

impl Waits {
    /// Extends a receiver's wait. Returns whether it grew by a second or more.
    pub(super) fn extend(&mut self, receiver: Receiver, until: ServiceTime) -> bool {
        let wait = self.by_receiver.entry(receiver).or_insert(Wait {
            until: ServiceTime::default(),
            next_start_at: ServiceTime::default(),
        });
        let grown = until >= wait.until + Duration::from_secs(1);
        if until > wait.until {
            *wait = Wait { until, next_start_at: until };
        }
        grown
    }

    /// Ends a receiver's wait, and the slow start after it.
    pub(super) fn end(&mut self, receiver: &Receiver) -> bool {
        self.by_receiver.remove(receiver).is_some()
    }

    /// Whether a receiver waits, or starts slowly.
    pub(super) fn has(&self, receiver: &Receiver) -> bool {
        self.by_receiver.contains_key(receiver)
    }

    /// Until when a receiver asked for no request, if that is later than `now`.
    pub(super) fn until(&self, receiver: &Receiver, now: ServiceTime) -> Option<ServiceTime> {
        self.by_receiver.get(receiver).map(|wait| wait.until).filter(|until| *until > now)
    }

    /// The time before which no request to a receiver may start; none: it may start now.
    pub(super) fn not_before(&self, receiver: &Receiver, now: ServiceTime) -> Option<ServiceTime> {
        self.by_receiver.get(receiver).map(|wait| wait.next_start_at).filter(|at| *at > now)
    }

    /// A request to a receiver starts. `jitter`, uniform in `[0, 1)`, spreads the starts.
    pub(super) fn started(&mut self, receiver: &Receiver, now: ServiceTime, jitter: f64) {
        let nodes = f64::from(self.other_nodes) + 1.0;
        if let Some(wait) = self.by_receiver.get_mut(receiver) {
            let rate = FIRST_RATE * 2f64.powf(now.since(wait.until).as_secs_f64()) / nodes;
            wait.next_start_at = now + Duration::from_secs_f64((0.5 + jitter) / rate);
        }
    }

    /// Forgets waits whose slow start is over.
    pub(super) fn forget_past(&mut self, now: ServiceTime) {
        self.by_receiver.retain(|_, wait| wait.until + SPREAD > now);
    }

    /// So many nodes share the rate of the slow start.
    pub(super) const fn set_nodes(&mut self, nodes: u32) {
        self.other_nodes = nodes.saturating_sub(1);
    }

    /// Ends waits of other receivers than these, but not a slow start; returns whether there was one.
    pub(super) fn end_others(&mut self, waiting: &HashSet<Receiver>, now: ServiceTime) -> bool {
        let count = self.by_receiver.len();
        self.by_receiver.retain(|it, wait| wait.until <= now || waiting.contains(it));
        self.by_receiver.len() < count
    }
}

/// A drain, as its starts are spaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    pub(super) drain: Drain,
    next_start_at: ServiceTime,
}

impl Draining {
    pub(super) fn of(drain: Drain) -> Self {
        Self { drain, next_start_at: ServiceTime::default() }
    }

    /// Nothing starts before this time.
    pub(super) fn begin_after(&mut self, at: ServiceTime) {
        self.next_start_at = self.next_start_at.max(at);
    }

    /// The time before which nothing may start; none: it may start now.
    pub(super) fn not_before(&self, now: ServiceTime) -> Option<ServiceTime> {
        Some(self.next_start_at).filter(|at| *at > now)
    }

    /// A request with this many deliveries starts.
    pub(super) fn started(&mut self, deliveries: usize, now: ServiceTime) {
        let spacing = Duration::from_secs(1) / self.drain.per_second.max(1);
        let count = u32::try_from(deliveries).unwrap_or(u32::MAX);
        self.next_start_at = self.next_start_at.max(now) + spacing.saturating_mul(count);
    }
}

/// What a pause held of one mapping, while it drains.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBacklog {
    /// Deliveries due up to this were held.
    pub(super) until: ServiceTime,
    /// Deliveries a second, of the mapping or of its destination.
    pub(super) per_second: u32,
    /// Whether none of it is left in the store.
    pub(super) is_exhausted: bool,
}

impl HeldBacklog {
    /// What the pauses of a mapping and of its destination held.
    pub(super) fn of(drains: [Option<Drain>; 2]) -> Option<Self> {
        let drains = || drains.iter().flatten();
        Some(Self {
            until: drains().map(|it| it.resumed_at).max()?,
            per_second: drains().map(|it| it.per_second).min()?,
            is_exhausted: false,
        })
    }

    /// How many more deliveries may be claimed while `queued` are in memory: two seconds' worth in all, as
    /// what is in memory would escape the rate after a restart.
    pub(super) fn room(&self, queued: u32) -> u32 {
        if self.is_exhausted || queued >= self.per_second {
            return 0;
        }
        self.per_second.saturating_mul(2).saturating_sub(queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> ServiceTime {
        ServiceTime::from_micros(0) + Duration::from_millis(millis)
    }

    #[test]
    fn a_receiver_gets_no_request_before_the_time_it_asked_for() {
        let receiver = Receiver::Mapping(MappingId(1));
        let mut waits = Waits::default();
        assert!(waits.extend(receiver.clone(), at(5_000)));
        assert!(!waits.extend(receiver.clone(), at(5_500)), "less than a second more");
        assert!(!waits.extend(receiver.clone(), at(2_000)), "the longest wait counts");
        assert_eq!(waits.not_before(&receiver, at(0)), Some(at(5_500)));
        assert_eq!(waits.not_before(&receiver, at(5_500)), None);
        assert_eq!(waits.not_before(&Receiver::Mapping(MappingId(2)), at(0)), None);
        assert!(waits.end(&receiver));
        assert_eq!(waits.not_before(&receiver, at(0)), None);
    }

    #[test]
    fn requests_start_slowly_after_a_wait() {
        let receiver = Receiver::Origin("https://example.com".into());
        let mut waits = Waits::default();
        waits.extend(receiver.clone(), at(1_000));
        let mut now = at(1_000);
        let mut by_second = [0; 10];
        while now < at(11_000) {
            waits.started(&receiver, now, 0.5);
            by_second[usize::try_from(now.since(at(1_000)).as_secs()).unwrap()] += 1;
            now = waits.not_before(&receiver, now).unwrap();
        }
        assert!((4..=7).contains(&by_second[0]), "{by_second:?}");
        for pair in by_second.windows(2) {
            assert!(pair[1] > pair[0] && pair[1] <= pair[0] * 3, "{by_second:?}");
        }
        waits.forget_past(at(10_999));
        assert!(waits.has(&receiver));
        waits.forget_past(at(11_000));
        assert!(!waits.has(&receiver));
    }

    #[test]
    fn a_drain_spaces_deliveries_not_requests() {
        let mut draining = Draining::of(Drain { resumed_at: at(0), per_second: 10 });
        assert_eq!(draining.not_before(at(1_000)), None);
        draining.started(1, at(1_000));
        assert_eq!(draining.not_before(at(1_000)), Some(at(1_100)));
        draining.started(20, at(1_100));
        assert_eq!(draining.not_before(at(1_100)), Some(at(3_100)));
    }

    #[test]
    fn no_more_than_two_seconds_of_a_drain_are_in_memory() {
        let drain = |per_second| Some(Drain { resumed_at: at(0), per_second });
        let mut held = HeldBacklog::of([drain(10), drain(4)]).unwrap();
        assert_eq!([held.room(0), held.room(3), held.room(4)], [8, 5, 0]);
        held.is_exhausted = true;
        assert_eq!(held.room(0), 0);
        assert!(HeldBacklog::of([None, None]).is_none());
    }
}
