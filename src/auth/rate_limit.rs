//! How many requests a token has left in the running minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::Timestamp;

/// How long a window is.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What is left to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in a window.
    pub quota: u32,
    /// Of these, how many are left after this one; none when this one is one too many.
    pub left: Option<u32>,
    /// When the next window begins, in whole seconds from now.
    pub reset_s: u64,
}

/// The running window of one token: it begins with the first request after the one before it ended.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<(Timestamp, u32)>);

impl Window {
    pub(super) fn spend(&self, quota: u32, now: Timestamp) -> Allowance {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began_at, spent) = &mut *window;
        // A clock that went back begins a window as well, rather than making anybody wait for it.
        if *began_at > now || now.since(*began_at) >= WINDOW {
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
    fn a_window_has_its_quota_and_the_next_one_too() {
        let window = Window::default();
        let at =
            |seconds| Timestamp::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds);
        assert_eq!(window.spend(2, at(0)), Allowance { quota: 2, left: Some(1), reset_s: 60 });
        assert_eq!(window.spend(2, at(10)), Allowance { quota: 2, left: Some(0), reset_s: 50 });
        assert_eq!(window.spend(2, at(59)), Allowance { quota: 2, left: None, reset_s: 1 });
        assert_eq!(window.spend(2, at(60)).left, Some(1));
        assert_eq!(window.spend(2, at(0)).left, Some(1), "the clock went back");
    }
}
