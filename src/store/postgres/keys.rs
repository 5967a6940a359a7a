//! Keys of events, deliveries and attempts: (ms of service time since 2025) << 22 | slot << 12 | number. Unique
//! without asking the database: no two live nodes have the same slot.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::clock::Clock;
use crate::domain::service_time::ServiceTime;

/// 2025-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_735_689_600_000;
const TIME_SHIFT: u32 = 22;
const SLOT_SHIFT: u32 = 12;
const LAST_NUMBER: i64 = (1 << SLOT_SHIFT) - 1;

/// How many slots there are.
pub(super) const SLOTS: i64 = 1 << (TIME_SHIFT - SLOT_SHIFT);

/// The first key of a time; keys of earlier times are below it.
pub(super) const fn first_key_at(at: ServiceTime) -> i64 {
    let ms = at.as_micros().div_euclid(1_000) - EPOCH_MS;
    if ms < 0 { 0 } else { ms << TIME_SHIFT }
}

/// When a key was given.
pub(super) const fn time_of(key: i64) -> ServiceTime {
    ServiceTime::from_micros(((key >> TIME_SHIFT) + EPOCH_MS) * 1_000)
}

/// Gives keys to one node. They rise.
pub(super) struct KeyGenerator {
    clock: Arc<dyn Clock>,
    slot: i64,
    last: Mutex<(i64, i64)>,
}

impl KeyGenerator {
    pub(super) fn new(clock: Arc<dyn Clock>, slot: i64) -> Self {
        Self { clock, slot, last: Mutex::new((0, LAST_NUMBER)) }
    }

    /// The node's slot.
    pub(super) const fn slot(&self) -> i64 {
        self.slot
    }

    /// The next key.
    pub(super) fn next(&self) -> i64 {
        let now = first_key_at(self.clock.service_now()) >> TIME_SHIFT;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (ms, _) if now > ms => (now, 0),
            (ms, LAST_NUMBER) => (ms + 1, 0),
            (ms, number) => (ms, number + 1),
        };
        (last.0 << TIME_SHIFT) | (self.slot << SLOT_SHIFT) | last.1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::{ManualClock, Timestamp};

    const START: Timestamp = Timestamp::from_micros(1_780_000_000_000_000);

    #[test]
    fn keys_rise_and_differ_between_slots() {
        let clock = Arc::new(ManualClock::new(START));
        let (one, two) =
            (KeyGenerator::new(clock.clone(), 0), KeyGenerator::new(clock.clone(), SLOTS - 1));
        let first: Vec<i64> = (0..10_000).map(|_| one.next()).collect();
        assert!(first.windows(2).all(|pair| pair[0] < pair[1]));
        let mut all: BTreeSet<i64> = first.into_iter().collect();
        all.extend((0..10_000).map(|_| two.next()));
        assert_eq!(all.len(), 20_000);
        clock.advance(Duration::from_secs(60));
        assert_eq!(time_of(one.next()), clock.service_now());
        assert!(one.next() > *all.iter().next_back().expect("a key"));
    }

    #[test]
    fn a_time_is_before_the_keys_that_were_given_from_it_on() {
        let clock = Arc::new(ManualClock::new(START));
        let keys = KeyGenerator::new(clock.clone(), 7);
        let before = keys.next();
        clock.advance(Duration::from_millis(1));
        assert!(
            before < first_key_at(clock.service_now())
                && first_key_at(clock.service_now()) <= keys.next()
        );
        assert_eq!(first_key_at(ServiceTime::from_micros(0)), 0);
    }
}
