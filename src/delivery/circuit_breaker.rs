//! The circuit breaker of one mapping: consecutive failures over a minimum time open it. After an
//! exponential backoff it is half-open and admits a single probe; a success closes it. Pure: the caller
//! passes the time and the verdicts.

use std::time::Duration;

use crate::domain::attempt::Outcome;
use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;
use crate::store::SharedCircuit;

/// The circuit opens after this many consecutive failures,
const FAILURE_THRESHOLD: u32 = 10;
/// when at least this much time lies between the first and the last of them: a burst of concurrent
/// failures counts as one observation.
const MIN_FAILING_TIME: Duration = Duration::from_secs(10);
/// The first probe interval; it doubles with each failed probe.
const FIRST_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum probe interval.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// What an attempt shows about the receiver's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver answers.
    Healthy,
    /// The receiver does not answer or answers 5xx, or the insert function times out.
    Unhealthy,
    /// The attempt says nothing about the receiver: the fault is in the event, or the receiver throttles.
    #[default]
    Neutral,
}

impl Verdict {
    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered | Outcome::Rejected | Outcome::Redirect => Self::Healthy,
            Outcome::ServerError
            | Outcome::Timeout
            | Outcome::Dns
            | Outcome::Connect
            | Outcome::Tls
            | Outcome::Reset
            | Outcome::BadAnswer
            | Outcome::FunctionTimeout
            | Outcome::Auth => Self::Unhealthy,
            Outcome::TryLater
            | Outcome::Render
            | Outcome::Address
            | Outcome::Unknown
            | Outcome::Function
            | Outcome::FunctionRetry
            | Outcome::Dropped => Self::Neutral,
        }
    }
}

/// How much the breaker admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Closed: no limit.
    Unlimited,
    /// Half-open: one delivery, as a probe.
    Probe,
    /// Open until this time.
    NotBefore(ServiceTime),
    /// Half-open with its probe in flight.
    ProbeInFlight,
}

#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    failures: u32,
    /// When the first of the consecutive failures was recorded; none while there are none.
    failing_since: Option<ServiceTime>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    opened_at: ServiceTime,
    probe_at: ServiceTime,
    interval: Duration,
    probe_in_flight: bool,
}

impl CircuitBreaker {
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn opened_at(&self) -> Option<ServiceTime> {
        self.open.as_ref().map(|open| open.opened_at)
    }

    /// The open circuit of this mapping, as nodes share it.
    pub(super) fn circuit(&self, mapping_id: MappingId) -> Option<SharedCircuit> {
        self.open.as_ref().map(|open| SharedCircuit {
            mapping_id,
            opened_at: open.opened_at,
            probe_at: open.probe_at,
            interval: open.interval,
        })
    }

    /// Opens or closes as another node did, or takes over when its next probe may start. Returns true when it
    /// opened or closed.
    pub(super) fn follow(&mut self, circuit: Option<&SharedCircuit>) -> bool {
        let Some(SharedCircuit { opened_at, probe_at, interval, .. }) = circuit.copied() else {
            let was_open = self.open.take().is_some();
            if was_open {
                (self.failures, self.failing_since) = (0, None);
            }
            return was_open;
        };
        let probe_in_flight = self.open.as_ref().is_some_and(|open| open.probe_in_flight);
        let opens = self.open.is_none();
        self.open = Some(Open { opened_at, probe_at, interval, probe_in_flight });
        opens
    }

    pub(super) fn admission(&self, now: ServiceTime) -> Admission {
        match &self.open {
            None => Admission::Unlimited,
            Some(open) if open.probe_in_flight => Admission::ProbeInFlight,
            Some(open) if open.probe_at > now => Admission::NotBefore(open.probe_at),
            Some(_) => Admission::Probe,
        }
    }

    /// Marks a probe as claimed, or (`false`) as ended without an attempt.
    pub(super) const fn set_probe_in_flight(&mut self, in_flight: bool) {
        if let Some(open) = &mut self.open {
            open.probe_in_flight = in_flight;
        }
    }

    /// Records an attempt's verdict. Returns true when it opened or closed the circuit.
    pub(super) fn record(&mut self, verdict: Verdict, now: ServiceTime) -> bool {
        match verdict {
            Verdict::Healthy => {
                (self.failures, self.failing_since) = (0, None);
                self.open.take().is_some()
            }
            Verdict::Unhealthy => self.record_failure(now),
            Verdict::Neutral => {
                self.set_probe_in_flight(false);
                false
            }
        }
    }

    fn record_failure(&mut self, now: ServiceTime) -> bool {
        if let Some(open) = &mut self.open {
            // Attempts that started before the circuit opened end while it is open: only the probe counts.
            if open.probe_in_flight {
                let interval = (open.interval * 2).min(MAX_PROBE_INTERVAL);
                open.probe_at = now + interval;
                (open.interval, open.probe_in_flight) = (interval, false);
            }
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if self.failures < FAILURE_THRESHOLD || now.since(since) < MIN_FAILING_TIME {
            return false;
        }
        self.open = Some(Open {
            opened_at: now,
            probe_at: now + FIRST_PROBE_INTERVAL,
            interval: FIRST_PROBE_INTERVAL,
            probe_in_flight: false,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED_AT: ServiceTime = ServiceTime::from_micros(10_000_000);

    fn at(seconds: u64) -> ServiceTime {
        ServiceTime::from_micros(0) + Duration::from_secs(seconds)
    }

    /// Reaches the failure threshold, then the minimum failing time.
    fn open_breaker() -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..FAILURE_THRESHOLD {
            assert!(!breaker.record(Verdict::Unhealthy, at(0)));
        }
        assert!(breaker.record(Verdict::Unhealthy, OPENED_AT));
        breaker
    }

    #[test]
    fn a_burst_of_failures_does_not_open_the_circuit_breaker() {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..1_000 {
            assert!(!breaker.record(Verdict::Unhealthy, at(0)));
        }
        assert!(!breaker.record(Verdict::Unhealthy, at(9)));
        assert_eq!(breaker.admission(at(9)), Admission::Unlimited);
        assert!(breaker.record(Verdict::Unhealthy, at(10)));
    }

    #[test]
    fn fewer_failures_than_the_threshold_never_open_the_circuit_breaker() {
        let mut breaker = CircuitBreaker::default();
        for hour in 1..u64::from(FAILURE_THRESHOLD) {
            assert!(!breaker.record(Verdict::Unhealthy, at(hour * 3_600)));
        }
        assert!(breaker.record(Verdict::Unhealthy, at(u64::from(FAILURE_THRESHOLD) * 3_600)));
    }

    #[test]
    fn a_success_resets_the_failing_time() {
        let mut breaker = CircuitBreaker::default();
        breaker.record(Verdict::Unhealthy, at(0));
        breaker.record(Verdict::Healthy, at(10));
        for _ in 0..FAILURE_THRESHOLD {
            assert!(!breaker.record(Verdict::Unhealthy, at(12)));
        }
        assert!(breaker.record(Verdict::Unhealthy, at(22)));
    }

    #[test]
    fn only_consecutive_failures_open_the_circuit_breaker() {
        let mut breaker = CircuitBreaker::default();
        for _ in 0..100 {
            for _ in 1..FAILURE_THRESHOLD {
                breaker.record(Verdict::Unhealthy, at(0));
            }
            breaker.record(Verdict::Healthy, at(0));
        }
        assert_eq!(breaker.admission(at(0)), Admission::Unlimited);
    }

    #[test]
    fn an_open_circuit_admits_one_probe_at_a_time_with_backoff() {
        let mut breaker = open_breaker();
        let mut now = OPENED_AT;
        let mut intervals = Vec::new();
        for _ in 0..8 {
            let Admission::NotBefore(probe_at) = breaker.admission(now) else {
                panic!("no probe interval")
            };
            intervals.push(probe_at.since(now).as_secs());
            now = probe_at;
            assert_eq!(breaker.admission(now), Admission::Probe);
            breaker.set_probe_in_flight(true);
            assert_eq!(breaker.admission(now), Admission::ProbeInFlight);
            assert!(!breaker.record(Verdict::Unhealthy, now));
        }
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(breaker.record(Verdict::Healthy, now));
        assert_eq!(breaker.admission(now), Admission::Unlimited);
    }

    #[test]
    fn attempts_started_before_the_circuit_opened_are_no_probes() {
        let mut breaker = open_breaker();
        breaker.record(Verdict::Unhealthy, OPENED_AT);
        assert_eq!(breaker.admission(OPENED_AT), Admission::NotBefore(at(11)));
    }
}
