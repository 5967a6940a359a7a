//! Scenario `neighbours`: isolation of destinations. Fifty receive every event, first all healthy, then
//! with one that hangs and one that fails.

use super::goals::peak_rss_bytes;
use super::harness::{Harness, Outcome, Part};
use super::measurement::{Account, Measurement, quotient};
use super::receiver::{FAIL, HANG};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::{self, Destination};

const DESTINATIONS: u32 = 50;
/// p99 with bad neighbours over p99 without.
const P99: f64 = 1.3;
/// Turns of each; the median counts.
const TURNS: usize = 3;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let good: Vec<_> = (0..DESTINATIONS).map(|number| format!("/{number}")).collect();
    let mut mixed = good.clone();
    mixed.splice(..2, [HANG, FAIL].map(str::to_owned));
    let cases = [
        (good, DESTINATIONS, "all destinations healthy"),
        (mixed, DESTINATIONS - 2, "one hanging, one failing"),
    ];
    let mut found = ScenarioReport::of(Scenario::Neighbours, Account::default());
    let (mut sides, mut peak) = ([Vec::new(), Vec::new()], 0);
    for _ in 0..TURNS {
        for ((paths, copies, name), sides) in cases.iter().zip(&mut sides) {
            let (outcome, most) = turn(harness, paths, *copies, name).await?;
            sides.push(outcome.side);
            found.account.add(outcome.account);
            peak = peak.max(most);
        }
    }
    let sides = sides.map(|turns| Measurement::of(&turns));
    for ((_, _, name), side) in cases.iter().zip(&sides) {
        found.figure(format!("{name}: deliveries"), Unit::PerSecond, side.per_second);
        found.time(format!("{name}: delivery latency, p50"), side.arrival.p50_us, None);
        found.time(format!("{name}: delivery latency, p99"), side.arrival.p99_us, None);
    }
    let [without, beside] = sides.map(|side| f64::from(side.arrival.p99_us));
    let ratio = quotient(beside, without);
    found.with_goal(
        "p99 with bad neighbours over p99 without",
        Unit::Ratio,
        ratio,
        Goal::AtMost(P99),
    );
    peak_rss_bytes(&mut found, peak);
    Ok(found)
}

/// A turn with a new service: its outcome and peak RSS.
async fn turn(
    harness: &mut Harness<'_>,
    paths: &[String],
    copies: u32,
    name: &'static str,
) -> anyhow::Result<(Outcome, u64)> {
    let destinations: Vec<_> = paths
        .iter()
        .map(|path| Destination { name: path.replace('/', "at-"), paths: vec![path.clone()] })
        .collect();
    let shape = (harness.args.in_flight, 0);
    let pipeline = service::pipeline(harness.address, &destinations, shape);
    let service = harness.service(&pipeline).await?;
    // As many deliveries a second as the other scenarios have at a steady rate.
    let rate = (harness.args.rate / DESTINATIONS).max(1);
    let outcome = harness.through(&service, &Part { rate, copies, ..harness.whole(name) }).await?;
    let peak = service.process().peak_memory_bytes()?;
    service.stop().await?;
    Ok((outcome, peak))
}
