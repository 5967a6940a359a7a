//! The retry clock: what follows from an outcome, and when the next try is due.
//!
//! Backoff is exponential with full jitter: the nth wait is drawn evenly from zero to
//! min(cap, base * 2^(n-1)). A receiver's `Retry-After` is a floor under it. The try that would fall
//! past the deadline is placed just before it instead; the one after that does not happen.

use std::time::Duration;

use super::attempt::Outcome;
use super::delivery::Reason;
use crate::domain::clock::Timestamp;

/// The ceiling of the first wait.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// The ceiling of every wait.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Settled: delivered.
    Delivered,
    /// Tried again at this time.
    Retry {
        /// When.
        due_at: Timestamp,
    },
    /// Settled: discarded, as its insert function wants.
    Discarded,
    /// Settled: a dead letter.
    Dead {
        /// Why.
        reason: Reason,
    },
    /// Its batch was refused as a whole: it stays leased, under the next token and until this time,
    /// to be sent in a smaller one. That attempt does not count towards the backoff.
    Renewed {
        /// When the lease ends.
        lease_expires_at: Timestamp,
    },
}

/// What the decision needs to know about the attempt that just ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Attempts made in this window, this one included: 1 or more.
    pub tried: u32,
    /// When the window ends.
    pub deadline_at: Timestamp,
    /// One attempt's time: the last try begins this long before the deadline.
    pub timeout: Duration,
    /// What the receiver asked for.
    pub retry_after: Option<Duration>,
}

/// What follows from an attempt that ended. `jitter`, evenly drawn from 0 to 1, is the part of the
/// backoff's ceiling that is waited: deliveries of one request share it, so that they come due together.
#[must_use]
pub fn decide(ended: &Ended, jitter: f64) -> Next {
    match ended.outcome {
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
        | Outcome::FunctionTimeout => retry(ended, jitter),
    }
}

fn retry(ended: &Ended, jitter: f64) -> Next {
    let last_try_at = ended.deadline_at - ended.timeout;
    if ended.at >= last_try_at {
        return Next::Dead { reason: Reason::Deadline };
    }
    let wait = backoff(ended.tried, jitter).max(ended.retry_after.unwrap_or_default());
    Next::Retry { due_at: (ended.at + wait).min(last_try_at) }
}

/// The wait after the `tried`th attempt.
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

    fn ended(outcome: Outcome, at: i64, tried: u32) -> Ended {
        Ended {
            outcome,
            at: Timestamp::from_micros(at),
            tried,
            deadline_at: Timestamp::from_micros(0) + 4 * HOUR,
            timeout: Duration::from_secs(5),
            retry_after: None,
        }
    }

    #[test]
    fn each_outcome_has_its_consequence() {
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
    fn statuses_fall_into_their_classes() {
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
        fn a_retry_is_never_before_now_nor_past_the_last_try(
            at in 0i64..15_000_000_000, tried in 1u32..200, jitter in 0.0..1.0, after in 0u64..100_000,
        ) {
            let mut ended = ended(Outcome::ServerError, at, tried);
            ended.retry_after = Some(Duration::from_secs(after));
            let last_try_at = ended.deadline_at - ended.timeout;
            match decide(&ended, jitter) {
                Next::Retry { due_at } => {
                    prop_assert!(due_at >= ended.at && due_at <= last_try_at);
                    prop_assert!(due_at == last_try_at || due_at >= ended.at + Duration::from_secs(after));
                }
                Next::Dead { reason } => {
                    prop_assert_eq!(reason, Reason::Deadline);
                    prop_assert!(ended.at >= last_try_at);
                }
                Next::Delivered | Next::Discarded | Next::Renewed { .. } => prop_assert!(false),
            }
        }

        #[test]
        fn the_wait_stays_under_its_ceiling(tried in 1u32..200, jitter in 0.0..1.0) {
            let wait = backoff(tried, jitter);
            let ceiling = Duration::from_secs(1u64 << (tried - 1).min(20)).min(BACKOFF_CAP);
            prop_assert!(wait <= ceiling);
        }
    }

    #[test]
    fn four_hours_of_failures_end_with_a_last_try_just_before_the_deadline() {
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
        let last = Timestamp::from_micros(*tries.last().expect("tries"));
        assert_eq!(last, Timestamp::from_micros(0) + 4 * HOUR - Duration::from_secs(5));
        assert!((20..200).contains(&tries.len()), "{} tries", tries.len());
    }
}
