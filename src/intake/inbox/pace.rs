//! How long a drainer waits until it looks again.

use std::time::Duration;

use crate::domain::service_time::ServiceTime;

/// Between looks while messages come.
const BUSY: Duration = Duration::from_millis(50);
/// Between looks otherwise.
const QUIET: Duration = Duration::from_millis(250);
/// After a look that failed.
const FAILED: Duration = Duration::from_secs(1);
/// How long after its last message an inbox counts as one that has something.
const LINGER: Duration = Duration::from_secs(2);

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// As many messages as it takes at once: there may be more.
    Full,
    /// Messages, all of which it took.
    Some,
    /// No message that can be taken.
    Nothing,
    /// It failed.
    Failed,
}

/// When messages were last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last_at: Option<ServiceTime>,
}

impl Pace {
    /// The wait after a look.
    pub(super) fn wait_after(&mut self, look: Look, now: ServiceTime) -> Duration {
        match look {
            Look::Full => {
                self.last_at = Some(now);
                Duration::ZERO
            }
            Look::Some => {
                self.last_at = Some(now);
                BUSY
            }
            Look::Nothing if self.last_at.is_some_and(|at| now.since(at) < LINGER) => BUSY,
            Look::Nothing => QUIET,
            Look::Failed => FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_is_looked_at_often_while_it_has_something() {
        let (mut pace, start) = (Pace::default(), ServiceTime::default());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(pace.wait_after(Look::Nothing, at(0)), QUIET);
        assert_eq!(pace.wait_after(Look::Full, at(250)), Duration::ZERO);
        assert_eq!(pace.wait_after(Look::Some, at(260)), BUSY);
        assert_eq!(pace.wait_after(Look::Nothing, at(2_259)), BUSY);
        assert_eq!(pace.wait_after(Look::Nothing, at(2_260)), QUIET);
        assert_eq!(pace.wait_after(Look::Failed, at(2_300)), FAILED);
    }
}
