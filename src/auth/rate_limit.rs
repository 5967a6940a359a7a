//! The rate limit of a token: a fixed window of one minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::service_time::ServiceTime;

/// The length of a window.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What remains of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in a window.
    pub quota: u32,
    /// Requests left after this one; none when this one exceeds the quota.
    pub left: Option<u32>,
    /// Time until the next window, in whole seconds.
    pub reset_s: u64,
}

/// The current window of one token: it begins with the first request after the window before it.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<(ServiceTime, u32)>);

impl Window {
    pub(super) fn spend(&self, quota: u32, now: ServiceTime) -> Allowance {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began_at, spent) = &mut *window;
        if now.since(*began_at) >= WINDOW {
            (*began_at, *spent) = (now, 0);
        }
        let left = quota.checked_sub(*spent + 1);
        if left.is_some() {
            *spent += 1;
        }
        let reset = WINDOW.saturating_sub(now.since(*began_at));
        Allowance { quota, left, reset_s: reset.as_secs().max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_its_own_quota() {
        let window = Window::default();
        let at = |seconds| {
            ServiceTime::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds)
        };
        assert_eq!(window.spend(2, at(0)), Allowance { quota: 2, left: Some(1), reset_s: 60 });
        assert_eq!(window.spend(2, at(10)), Allowance { quota: 2, left: Some(0), reset_s: 50 });
        assert_eq!(window.spend(2, at(59)), Allowance { quota: 2, left: None, reset_s: 1 });
        assert_eq!(window.spend(2, at(60)).left, Some(1));
    }
}
