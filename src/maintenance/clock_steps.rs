//! Steps of the wall clock: they rebuild the cron scheduler, and for an hour after a large one no duty deletes.
//! A clock that is far off for a moment so deletes nothing before its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::clock::Clock;
use crate::domain::service_time::ServiceTime;

/// A larger step suspends what deletes by age: it is the period of retention.
const LARGE: Duration = Duration::from_secs(10 * 60);
/// For how long.
const SUSPENSION: Duration = Duration::from_secs(60 * 60);

/// The steps since the start; cheap to clone.
#[derive(Clone)]
pub struct ClockSteps {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stepped: Notify,
    suspended_until: Mutex<ServiceTime>,
}

impl ClockSteps {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: Arc::default() }
    }

    /// The wall clock stepped by this many microseconds, in either direction; or so much time passed while no
    /// node ran, which cannot be told from a step.
    pub fn note(&self, micros: i64) {
        if Duration::from_micros(micros.unsigned_abs()) > LARGE {
            let mut until =
                self.shared.suspended_until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = self.clock.service_now() + SUSPENSION;
        }
        self.rebuild();
    }

    /// Whether duties may delete by age.
    #[must_use]
    pub fn may_delete(&self) -> bool {
        let until = self.shared.suspended_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.service_now() >= *until
    }

    /// Has the cron scheduler rebuilt.
    pub(super) fn rebuild(&self) {
        self.shared.stepped.notify_one();
    }

    /// Resolves after the next step.
    pub(super) async fn stepped(&self) {
        self.shared.stepped.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{ManualClock, Timestamp};

    #[test]
    fn for_an_hour_after_a_large_step_nothing_is_deleted() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let steps = ClockSteps::new(Arc::clone(&clock) as _);
        assert!(steps.may_delete());
        let day = 86_400_000_000;
        for (micros, suspends) in [(60_000_000, false), (40 * day, true), (-day, true)] {
            steps.note(micros);
            assert_eq!(!steps.may_delete(), suspends, "{micros}");
            clock.step(40 * day);
            assert_eq!(!steps.may_delete(), suspends, "a further step is not time");
            clock.advance(SUSPENSION);
            assert!(steps.may_delete());
        }
    }
}
