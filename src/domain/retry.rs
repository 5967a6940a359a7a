//! The retry decision: a delivery's next state by its attempt's outcome, and when the next attempt is due.
//!
//! Exponential backoff with full jitter: the nth wait is uniform in `[0, min(cap, base * 2^(n-1))]`. A
//! receiver's `Retry-After` is its lower bound. An attempt that would fall past the deadline is made
//! just before it instead, as the last one. A delivery that no attempt is known to have been sent for gets
//! one after the deadline.

use std::time::Duration;

use super::attempt::Outcome;
use super::delivery::Reason;
use crate::domain::service_time::ServiceTime;

/// The maximum of the first wait.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// The maximum of any wait.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);

/// A delivery's next state after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Delivered.
    Delivered,
    /// Pending until the next attempt.
    Retry {
        /// When the next attempt is due.
        due_at: ServiceTime,
    },
    /// Discarded: its insert function dropped it.
    Discarded,
    /// A dead letter.
    Dead {
        /// Why.
        reason: Reason,
    },
    /// Still leased, under the next fencing token: its batch was rejected as a whole and is split. The
    /// attempt does not count towards the backoff.
    Renewed {
        /// When the lease ends.
        lease_expires_at: ServiceTime,
    },
}

/// The input of the retry decision: an attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnd {
    /// Its outcome.
    pub outcome: Outcome,
    /// When it ended.
    pub at: ServiceTime,
    /// Attempts in this window, this one included: 1 or more.
    pub tried: u32,
    /// Whether the delivery gets a further attempt even after its deadline: none is known to have been sent.
    pub is_untried: bool,
    /// When the window ends.
    pub deadline_at: ServiceTime,
    /// The attempt's timeout: the last attempt starts this long before the deadline.
    pub timeout: Duration,
    /// The receiver's `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Decides a delivery's next state. `jitter`, uniform in `[0, 1)`, is the fraction of the maximum backoff to
/// wait: deliveries of one request share it, so that they come due together.
#[must_use]
pub fn decide(end: &AttemptEnd, jitter: f64) -> Next {
    match end.outcome {
        Outcome::Delivered => Next::Delivered,
        Outcome::Rejected => Next::Dead { reason: Reason::Rejected },
        Outcome::Redirect => Next::Dead { reason: Reason::Redirect },
        Outcome::Render => Next::Dead { reason: Reason::Render },
        Outcome::Address => Next::Dead { reason: Reason::Address },
        Outcome::Function => Next::Dead { reason: Reason::Function },
        Outcome::Dropped => Next::Discarded,
        Outcome::ServerError
        | Outcome::TryLater
        | Outcome::Timeout
        | Outcome::Dns
        | Outcome::Connect
        | Outcome::Tls
        | Outcome::Reset
        | Outcome::BadAnswer
        | Outcome::Auth
        | Outcome::Unknown
        | Outcome::FunctionRetry
        | Outcome::FunctionTimeout => retry(end, jitter),
    }
}

fn retry(end: &AttemptEnd, jitter: f64) -> Next {
    let last_attempt_at = end.deadline_at - end.timeout;
    if end.at >= last_attempt_at {
        return if end.is_untried {
            Next::Retry { due_at: end.at + backoff(end.tried, jitter) }
        } else {
            Next::Dead { reason: Reason::Deadline }
        };
    }
    let wait = backoff(end.tried, jitter).max(end.retry_after.unwrap_or_default());
    Next::Retry { due_at: (end.at + wait).min(last_attempt_at) }
}

/// The wait after the `tried`th attempt of the window.
fn backoff(tried: u32, jitter: f64) -> Duration {
    let ceiling =
        BACKOFF_BASE.saturating_mul(2u32.saturating_pow(tried.saturating_sub(1))).min(BACKOFF_CAP);
    ceiling.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn ended(outcome: Outcome, at: i64, tried: u32) -> AttemptEnd {
        AttemptEnd {
            outcome,
            at: ServiceTime::from_micros(at),
            tried,
            is_untried: false,
            deadline_at: ServiceTime::from_micros(0) + 4 * HOUR,
            timeout: Duration::from_secs(5),
            retry_after: None,
        }
    }

    #[test]
    fn each_outcome_decides_the_next_state() {
        for outcome in Outcome::ALL {
            let next = decide(&ended(outcome, 0, 1), 0.5);
            let word = match next {
                Next::Delivered => "delivered".to_owned(),
                Next::Discarded => "discarded".to_owned(),
                Next::Retry { .. } => "retry".to_owned(),
                Next::Dead { reason } => reason.as_str().to_owned(),
                Next::Renewed { .. } => unreachable!("no outcome alone renews a lease"),
            };
            let wanted = match outcome.as_str() {
                "dropped" => "discarded",
                settled @ ("delivered" | "rejected" | "redirect" | "render" | "address"
                | "function") => settled,
                _ => "retry",
            };
            assert_eq!(word, wanted, "{outcome:?}");
        }
    }

    #[test]
    fn an_untried_delivery_is_retried_after_its_deadline() {
        let mut lost = ended(Outcome::Unknown, 5 * 3_600_000_000, 1);
        assert_eq!(decide(&lost, 0.5), Next::Dead { reason: Reason::Deadline });
        lost.is_untried = true;
        let due_at = lost.at + BACKOFF_BASE / 2;
        assert_eq!(decide(&lost, 0.5), Next::Retry { due_at });
    }

    #[test]
    fn each_http_status_has_its_outcome() {
        let table = [
            (200, "delivered"),
            (204, "delivered"),
            (301, "redirect"),
            (304, "redirect"),
            (400, "rejected"),
            (404, "rejected"),
            (410, "rejected"),
            (408, "try_later"),
            (425, "try_later"),
            (429, "try_later"),
            (500, "server_error"),
            (503, "server_error"),
            (599, "server_error"),
            (600, "bad_answer"),
            (999, "bad_answer"),
        ];
        for (status, word) in table {
            assert_eq!(Outcome::of_status(status).as_str(), word, "{status}");
        }
    }

    proptest! {
        #[test]
        fn a_retry_is_due_between_now_and_the_last_attempt(
            at in 0i64..15_000_000_000, tried in 1u32..200, jitter in 0.0..1.0, after in 0u64..100_000,
        ) {
            let mut ended = ended(Outcome::ServerError, at, tried);
            ended.retry_after = Some(Duration::from_secs(after));
            let last_attempt_at = ended.deadline_at - ended.timeout;
            match decide(&ended, jitter) {
                Next::Retry { due_at } => {
                    prop_assert!(due_at >= ended.at && due_at <= last_attempt_at);
                    prop_assert!(due_at == last_attempt_at || due_at >= ended.at + Duration::from_secs(after));
                }
                Next::Dead { reason } => {
                    prop_assert_eq!(reason, Reason::Deadline);
                    prop_assert!(ended.at >= last_attempt_at);
                }
                Next::Delivered | Next::Discarded | Next::Renewed { .. } => prop_assert!(false),
            }
        }

        #[test]
        fn the_backoff_never_exceeds_its_maximum(tried in 1u32..200, jitter in 0.0..1.0) {
            let wait = backoff(tried, jitter);
            let ceiling = Duration::from_secs(1u64 << (tried - 1).min(20)).min(BACKOFF_CAP);
            prop_assert!(wait <= ceiling);
        }
    }

    #[test]
    fn four_hours_of_failures_end_with_a_last_attempt_just_before_the_deadline() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut at = 0;
        let mut tries = vec![at];
        for tried in 1.. {
            match decide(&ended(Outcome::Connect, at, tried), rng.random()) {
                Next::Retry { due_at } => at = due_at.as_micros(),
                Next::Dead { reason } => {
                    assert_eq!(reason, Reason::Deadline);
                    break;
                }
                Next::Delivered | Next::Discarded | Next::Renewed { .. } => {
                    unreachable!("a failure settles and renews nothing")
                }
            }
            tries.push(at);
        }
        let last = ServiceTime::from_micros(*tries.last().expect("tries"));
        assert_eq!(last, ServiceTime::from_micros(0) + 4 * HOUR - Duration::from_secs(5));
        assert!((20..200).contains(&tries.len()), "{} tries", tries.len());
    }
}
