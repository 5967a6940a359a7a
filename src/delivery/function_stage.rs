//! The function stage of a mapping's queue: how many deliveries go to a worker in one call, and how many may
//! wait for one. Both follow from how long the function has run: a slow one is given few events at a time and
//! few are leased for it, so that the others stay pending. No I/O.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::id::MappingId;
use crate::functions::{FunctionPool, FunctionSlot};

/// Deliveries in the first call, and in any.
const FIRST_CALL: u32 = 16;
const MAX_CALL: u32 = 256;
/// How long a call should take: its deliveries wait for each other, and other mappings for the worker.
const CALL_TIME: Duration = Duration::from_millis(100);
/// Deliveries that may wait before it is known how long a run takes.
const FIRST_CAPACITY: u32 = 256;
/// For how long deliveries should wait for a worker: much shorter than their lease.
const WAIT: Duration = Duration::from_secs(4);
/// The weight of the last call in the averages.
const WEIGHT: f64 = 0.3;

#[derive(Debug)]
pub(super) struct FunctionStage {
    mapping_id: MappingId,
    pool: Arc<FunctionPool>,
    /// Most deliveries of a call: what the destination takes in about a second.
    max_call: u32,
    /// The average run, in seconds.
    run: Option<f64>,
    /// The average run with the wait for its worker, in seconds.
    turnaround: Option<f64>,
    /// Since when it waits for a worker.
    waits_since: Option<Instant>,
}

impl FunctionStage {
    pub(super) fn new(mapping_id: MappingId, pool: Arc<FunctionPool>) -> Self {
        Self { mapping_id, pool, max_call: 1, run: None, turnaround: None, waits_since: None }
    }

    /// Applies the destination's limits.
    pub(super) fn configure(&mut self, max_in_flight: u32, rate_per_second: Option<u32>) {
        self.max_call = max_in_flight.min(rate_per_second.unwrap_or(u32::MAX)).clamp(1, MAX_CALL);
    }

    /// A worker for the next call, if one is free.
    pub(super) fn try_worker(&mut self) -> Option<FunctionSlot> {
        let slot = self.pool.try_slot(self.mapping_id);
        if slot.is_none() {
            self.waits_since.get_or_insert_with(Instant::now);
        }
        slot
    }

    /// Deliveries of the next call.
    pub(super) fn call_size(&self) -> u32 {
        self.run.map_or(FIRST_CALL, |run| fits(CALL_TIME, run)).clamp(1, self.max_call)
    }

    /// Deliveries that may be leased for it.
    pub(super) fn capacity(&self) -> u32 {
        self.turnaround.map_or(FIRST_CAPACITY, |turnaround| fits(WAIT, turnaround))
    }

    /// A call of `count` deliveries has ended.
    pub(super) fn note_call(&mut self, count: usize, duration: Duration) {
        let Ok(count) = u32::try_from(count.max(1)) else { return };
        let waited =
            self.waits_since.take().map_or(duration, |since| since.elapsed().max(duration));
        let average = |known: Option<f64>, last: Duration| {
            let last = last.as_secs_f64() / f64::from(count);
            Some(known.map_or(last, |known| known + WEIGHT * (last - known)))
        };
        self.run = average(self.run, duration);
        self.turnaround = average(self.turnaround, waited);
    }
}

/// How many runs of this many seconds fit in a time.
#[expect(clippy::cast_possible_truncation, reason = "clamped before")]
fn fits(time: Duration, run: f64) -> u32 {
    (time.as_secs_f64() / run.max(1e-6)).clamp(0.0, 1e9) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::PoolOptions;

    fn stage() -> FunctionStage {
        let pool = Arc::new(FunctionPool::new(PoolOptions::default()));
        let mut stage = FunctionStage::new(MappingId(1), pool);
        stage.configure(64, None);
        stage
    }

    #[tokio::test]
    async fn a_slow_function_is_given_few_events_at_a_time_and_few_are_leased_for_it() {
        let mut stage = stage();
        assert_eq!((stage.call_size(), stage.capacity()), (16, 256));
        stage.note_call(10, Duration::from_millis(120));
        assert_eq!((stage.call_size(), stage.capacity()), (8, 333));
        stage.note_call(1, Duration::from_secs(5));
        assert_eq!((stage.call_size(), stage.capacity()), (1, 2));
    }

    #[tokio::test]
    async fn a_call_has_no_more_events_than_the_destination_takes() {
        let mut stage = stage();
        stage.note_call(100, Duration::from_millis(1));
        assert_eq!(stage.call_size(), 64);
        stage.configure(64, Some(5));
        assert_eq!(stage.call_size(), 5);
        stage.configure(1, None);
        assert_eq!(stage.call_size(), 1);
    }

    #[tokio::test]
    async fn one_mapping_has_half_of_the_workers() {
        let mut stage = stage();
        let slot = stage.try_worker().expect("it is free");
        assert!(stage.try_worker().is_none());
        drop(slot);
        assert!(stage.try_worker().is_some());
    }
}
