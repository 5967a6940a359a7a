//! Goals that several scenarios share: latency at a steady rate, and peak RSS.

use super::measurement::{Measurement, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::service::Service;

/// Peak RSS of the service under any load, in megabytes.
const PEAK_MB: f64 = 200.0;
/// Latencies at a steady rate, in milliseconds.
pub(super) const ACKNOWLEDGED_P99_MS: f64 = 4.0;
const ARRIVED_P50_MS: f64 = 1.5;
const ARRIVED_P99_MS: f64 = 6.0;
/// The same on PostgreSQL.
const SERVER_ARRIVED_P99_MS: f64 = 15.0;

/// Latencies at a steady rate, with their goals.
pub(super) fn steady_latencies(found: &mut ScenarioReport, side: &Measurement, has_server: bool) {
    let Measurement { acknowledged, arrival, .. } = side;
    if has_server {
        found.latencies(side);
        let p99_ms = f64::from(arrival.p99_us) / 1e3;
        let goal = Goal::AtMost(SERVER_ARRIVED_P99_MS);
        found.with_goal("delivery latency on PostgreSQL, p99", Unit::Milliseconds, p99_ms, goal);
        return;
    }
    found.time("acknowledgement latency, p50", acknowledged.p50_us, None);
    found.time("acknowledgement latency, p99", acknowledged.p99_us, Some(ACKNOWLEDGED_P99_MS));
    found.time("delivery latency, p50", arrival.p50_us, Some(ARRIVED_P50_MS));
    found.time("delivery latency, p99", arrival.p99_us, Some(ARRIVED_P99_MS));
}

/// The service's peak RSS.
pub(super) fn peak_rss(found: &mut ScenarioReport, service: &Service) -> anyhow::Result<()> {
    peak_rss_bytes(found, service.process().peak_memory_bytes()?);
    Ok(())
}

/// A peak RSS, against the goal.
pub(super) fn peak_rss_bytes(found: &mut ScenarioReport, bytes: u64) {
    let goal = Goal::AtMost(PEAK_MB);
    found.with_goal("RSS, peak", Unit::Megabytes, to_f64(bytes) / 1e6, goal);
}
