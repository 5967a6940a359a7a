//! The circuit of one mapping: after failures over some time without a success between them it opens,
//! and one probe at a time asks whether the receiver is back. Pure: it is told the time and verdicts.

use std::time::Duration;

use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;

/// So many failures in a row open the circuit,
const OPENS_AT: u32 = 10;
/// when so much time lies between the first and the last of them. Failures that come together, such as
/// those of one burst of events, say no more than one does.
const OPENS_AFTER: Duration = Duration::from_secs(10);
/// The first wait for a probe; it doubles with each failed probe.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for a probe.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What an attempt says about the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers.
    Up,
    /// It does not answer, or only to say that it is broken; or the insert function hangs before it.
    Down,
    /// Nothing: the fault is the event's, or the receiver only asks for time.
    Neither,
}

impl Verdict {
    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered | Outcome::Rejected | Outcome::Redirect => Self::Up,
            Outcome::ServerError
            | Outcome::Timeout
            | Outcome::Dns
            | Outcome::Connect
            | Outcome::Tls
            | Outcome::Reset
            | Outcome::BadAnswer
            | Outcome::FunctionTimeout
            | Outcome::Auth => Self::Down,
            Outcome::TryLater
            | Outcome::Render
            | Outcome::Address
            | Outcome::Unknown
            | Outcome::Function
            | Outcome::FunctionRetry
            | Outcome::Dropped => Self::Neither,
        }
    }
}

/// How much may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Whatever there is room for.
    Freely,
    /// One delivery, to see whether the receiver is back.
    Probe,
    /// Nothing before this time.
    NotBefore(Timestamp),
    /// Nothing until the probe under way has ended.
    Probing,
}

#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// When the first of them was told; none while there are none.
    failing_since: Option<Timestamp>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    opened_at: Timestamp,
    probe_at: Timestamp,
    wait: Duration,
    probing: bool,
}

impl Circuit {
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn opened_at(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.opened_at)
    }

    pub(super) fn admission(&self, now: Timestamp) -> Admission {
        match &self.open {
            None => Admission::Freely,
            Some(open) if open.probing => Admission::Probing,
            Some(open) if open.probe_at > now => Admission::NotBefore(open.probe_at),
            Some(_) => Admission::Probe,
        }
    }

    /// A probe was claimed, or (`false`) ended without an attempt.
    pub(super) const fn set_probing(&mut self, probing: bool) {
        if let Some(open) = &mut self.open {
            open.probing = probing;
        }
    }

    /// Takes an attempt's verdict. True when it opened or closed the circuit.
    pub(super) fn learn(&mut self, verdict: Verdict, now: Timestamp) -> bool {
        match verdict {
            Verdict::Up => {
                (self.failures, self.failing_since) = (0, None);
                self.open.take().is_some()
            }
            Verdict::Down => self.fail(now),
            Verdict::Neither => {
                self.set_probing(false);
                false
            }
        }
    }

    fn fail(&mut self, now: Timestamp) -> bool {
        if let Some(open) = &mut self.open {
            // Attempts begun before it opened end while it is open: only the probe's end counts.
            if open.probing {
                let wait = (open.wait * 2).min(LONGEST_WAIT);
                (open.probe_at, open.wait, open.probing) = (now + wait, wait, false);
            }
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if self.failures < OPENS_AT || now.since(since) < OPENS_AFTER {
            return false;
        }
        self.open = Some(Open {
            opened_at: now,
            probe_at: now + FIRST_WAIT,
            wait: FIRST_WAIT,
            probing: false,
        });
        true
    }

    pub(super) const fn shift(&mut self, micros: i64) {
        if let Some(since) = &mut self.failing_since {
            *since = since.shifted(micros);
        }
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at.shifted(micros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED_AT: Timestamp = Timestamp::from_micros(10_000_000);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(seconds)
    }

    /// Failures enough, and then one that comes late enough.
    fn opened() -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..OPENS_AT {
            assert!(!circuit.learn(Verdict::Down, at(0)));
        }
        assert!(circuit.learn(Verdict::Down, OPENED_AT));
        circuit
    }

    #[test]
    fn failures_that_come_together_do_not_open_it() {
        let mut circuit = Circuit::default();
        for _ in 0..1_000 {
            assert!(!circuit.learn(Verdict::Down, at(0)));
        }
        assert!(!circuit.learn(Verdict::Down, at(9)));
        assert_eq!(circuit.admission(at(9)), Admission::Freely);
        assert!(circuit.learn(Verdict::Down, at(10)));
    }

    #[test]
    fn few_failures_do_not_open_it_however_long_they_go_on() {
        let mut circuit = Circuit::default();
        for hour in 1..u64::from(OPENS_AT) {
            assert!(!circuit.learn(Verdict::Down, at(hour * 3_600)));
        }
        assert!(circuit.learn(Verdict::Down, at(u64::from(OPENS_AT) * 3_600)));
    }

    #[test]
    fn the_time_counts_from_the_first_failure_after_a_success() {
        let mut circuit = Circuit::default();
        circuit.learn(Verdict::Down, at(0));
        circuit.learn(Verdict::Up, at(10));
        for _ in 0..OPENS_AT {
            assert!(!circuit.learn(Verdict::Down, at(12)));
        }
        assert!(circuit.learn(Verdict::Down, at(22)));
    }

    #[test]
    fn a_jump_of_the_clock_neither_opens_it_nor_keeps_it_from_opening() {
        let mut circuit = Circuit::default();
        for _ in 0..OPENS_AT {
            circuit.learn(Verdict::Down, at(0));
        }
        circuit.shift(3_600_000_000);
        assert!(!circuit.learn(Verdict::Down, at(3_605)));
        circuit.shift(-3_600_000_000);
        assert!(circuit.learn(Verdict::Down, at(10)));
    }

    #[test]
    fn it_opens_only_when_nothing_succeeds_between() {
        let mut circuit = Circuit::default();
        for _ in 0..100 {
            for _ in 1..OPENS_AT {
                circuit.learn(Verdict::Down, at(0));
            }
            circuit.learn(Verdict::Up, at(0));
        }
        assert_eq!(circuit.admission(at(0)), Admission::Freely);
    }

    #[test]
    fn one_probe_at_a_time_with_growing_waits_until_one_succeeds() {
        let mut circuit = opened();
        let mut now = OPENED_AT;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Admission::NotBefore(probe_at) = circuit.admission(now) else {
                panic!("a wait was due")
            };
            waits.push(probe_at.since(now).as_secs());
            now = probe_at;
            assert_eq!(circuit.admission(now), Admission::Probe);
            circuit.set_probing(true);
            assert_eq!(circuit.admission(now), Admission::Probing);
            assert!(!circuit.learn(Verdict::Down, now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(circuit.learn(Verdict::Up, now));
        assert_eq!(circuit.admission(now), Admission::Freely);
    }

    #[test]
    fn attempts_begun_before_it_opened_do_not_count_as_probes() {
        let mut circuit = opened();
        circuit.learn(Verdict::Down, OPENED_AT);
        assert_eq!(circuit.admission(OPENED_AT), Admission::NotBefore(at(11)));
    }
}
