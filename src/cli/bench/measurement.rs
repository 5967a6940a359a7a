//! The measurement of one part of a bench, from the load's and the receiver's reports and the CPU of the
//! measured process; and the aggregate of several turns.

use serde::Serialize;

use super::load::LoadReport;
use super::receiver::{Reading, quantile};

/// One side of the comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measurement {
    /// Deliveries that arrived; the bare loop's are its requests.
    pub(super) deliveries: u64,
    /// From the first send to the last arrival, in seconds.
    pub(super) seconds: f64,
    /// Deliveries over seconds.
    pub(super) per_second: f64,
    /// CPU of the measured process: the service, or the bare loop.
    pub(super) cpu_us_each: f64,
    /// Latency from sending a request to its answer.
    pub(super) acknowledged: Quantiles,
    /// Latency from sending to arrival at the receiver.
    pub(super) arrival: Quantiles,
}

/// p50 and p99, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
}

/// Counts of events and deliveries of the service.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Account {
    /// Events acknowledged.
    pub(super) acknowledged: u64,
    /// Deliveries of these that never arrived.
    pub(super) lost: u64,
    /// Deliveries that arrived more than once.
    pub(super) repeated_deliveries: u64,
    /// Events that the load gave up, never acknowledged.
    pub(super) refused: u64,
    /// Attempts of the load that were throttled or broke.
    pub(super) put_off: u64,
    /// The load's last error.
    pub(super) fault: Option<String>,
}

impl Measurement {
    /// From the reports of load and receiver, and the CPU of the measured process.
    pub(super) fn new(load: &LoadReport, reading: &Reading, cpu_us: u64) -> Self {
        let deliveries = reading.distinct;
        let seconds = to_f64(u64::try_from(reading.last_us - load.first_us).unwrap_or(0)) / 1e6;
        Self {
            deliveries,
            seconds,
            per_second: quotient(to_f64(deliveries), seconds),
            cpu_us_each: quotient(to_f64(cpu_us), to_f64(deliveries)),
            acknowledged: Quantiles { p50_us: load.p50_us, p99_us: load.p99_us },
            arrival: Quantiles { p50_us: reading.p50_us, p99_us: reading.p99_us },
        }
    }

    /// The sum of all turns; of the latencies, the median turn.
    pub(super) fn of(turns: &[Self]) -> Self {
        let deliveries = turns.iter().map(|turn| turn.deliveries).sum();
        let seconds = turns.iter().map(|turn| turn.seconds).sum();
        let cpu_us: f64 = turns.iter().map(|it| it.cpu_us_each * to_f64(it.deliveries)).sum();
        Self {
            deliveries,
            seconds,
            per_second: quotient(to_f64(deliveries), seconds),
            cpu_us_each: quotient(cpu_us, to_f64(deliveries)),
            acknowledged: Quantiles::middle(turns, |turn| turn.acknowledged),
            arrival: Quantiles::middle(turns, |turn| turn.arrival),
        }
    }
}

impl Account {
    /// Of one part whose events have this many deliveries each.
    pub(super) fn new(load: &LoadReport, reading: &Reading, copies: u64) -> Self {
        Self {
            acknowledged: load.acknowledged,
            lost: (load.acknowledged * copies).saturating_sub(reading.distinct),
            repeated_deliveries: reading.events.saturating_sub(reading.distinct),
            refused: load.failed,
            put_off: load.repeated,
            fault: load.fault.clone(),
        }
    }

    /// Adds another turn's.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.repeated_deliveries += other.repeated_deliveries;
        self.refused += other.refused;
        self.put_off += other.put_off;
        self.fault = other.fault.or(self.fault.take());
    }
}

impl Quantiles {
    fn middle(turns: &[Measurement], of: fn(&Measurement) -> Self) -> Self {
        let middle = |which: fn(Self) -> u32| {
            let mut all: Vec<u32> = turns.iter().map(|turn| which(of(turn))).collect();
            all.sort_unstable();
            quantile(&all, 50)
        };
        Self { p50_us: middle(|it| it.p50_us), p99_us: middle(|it| it.p99_us) }
    }
}

pub(super) fn quotient(above: f64, below: f64) -> f64 {
    if below > 0.0 { above / below } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}
