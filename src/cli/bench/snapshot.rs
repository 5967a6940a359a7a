//! Scenario `snapshot`: a snapshot of the PostgreSQL database is held open for minutes, so that no vacuum cleans up after
//! claims and records; their cost stays flat.

use super::harness::{BATCH, Harness, Part};
use super::measurement::{Account, quotient};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use crate::store::postgres::ServerProbe;

/// The rate at the end of the snapshot over that before it.
const RATE: f64 = 0.9;
/// Parts of the time that it is held.
const TURNS: u64 = 6;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let mut found = ScenarioReport::of(Scenario::Snapshot, Account::default());
    let millis = harness.args.snapshot_seconds * 1_000 / TURNS;
    let part = Part { millis, batch: BATCH, ..harness.whole("batches of events") };
    let before = harness.through(&service, &part).await?;
    found.account.add(before.account);
    let mut probe = ServerProbe::connect(service.database()).await?;
    probe.hold_snapshot().await?;
    let mut last = before.side.clone();
    for _ in 0..TURNS {
        let during = Part { name: "while a snapshot is held open", ..part.clone() };
        let outcome = harness.through(&service, &during).await?;
        found.account.add(outcome.account);
        last = outcome.side;
    }
    drop(probe);
    found.figure("rate before", Unit::PerSecond, before.side.per_second);
    found.figure("rate at the snapshot's end", Unit::PerSecond, last.per_second);
    let ratio = quotient(last.per_second, before.side.per_second);
    found.with_goal("rate at its end over that before", Unit::Ratio, ratio, Goal::AtLeast(RATE));
    found.figure("CPU a delivery before", Unit::Microseconds, before.side.cpu_us_each);
    found.figure("CPU a delivery at the snapshot's end", Unit::Microseconds, last.cpu_us_each);
    service.stop().await?;
    Ok(found)
}
