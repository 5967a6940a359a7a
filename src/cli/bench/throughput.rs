//! The scenarios of throughput and latency: single, batch, batched, fan-out and steady.

use std::time::Duration;

use super::goals::{peak_rss, steady_latencies};
use super::harness::{BATCH, BATCHING, Harness, Outcome, Part};
use super::measurement::{Account, Measurement, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;

/// RSS of an idle service, in megabytes, and for how long it has been idle.
const IDLE_MB: f64 = 25.0;
const IDLE: Duration = Duration::from_secs(8);
/// Disk space of an event once it is settled, over the bytes of its message.
const DISK: f64 = 1.5;
/// Turns at a steady rate; the median latency counts.
const STEADY_TURNS: usize = 3;

pub(super) async fn single(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    tokio::time::sleep(IDLE).await;
    let idle = service.process().memory_bytes()?;
    let part = harness.whole("single events");
    let before = harness.usage(&service).await?;
    let (side, baseline, account) = harness.turns(&service, &part).await?;
    let mut found = ScenarioReport::of(Scenario::Single, account);
    found.compare(&side, &baseline, harness.goals((0.36, 2.6), Some((0.22, 4.5))));
    found.latencies(&side);
    let goal = Goal::AtMost(IDLE_MB);
    found.with_goal("RSS, idle", Unit::Megabytes, to_f64(idle) / 1e6, goal);
    peak_rss(&mut found, &service)?;
    if let (Some(before), Some(after)) = (before, harness.usage(&service).await?) {
        after.report(before, found.account.acknowledged, &mut found);
        service.stop().await?;
        return Ok(found);
    }
    let payload = to_f64(found.account.acknowledged) * to_f64(u64::from(harness.args.bytes));
    let running = to_f64(service.disk_bytes()?);
    found.figure("disk over payload, WAL included", Unit::Ratio, quotient(running, payload));
    let settled = to_f64(service.stop().await?);
    let ratio = quotient(settled, payload);
    found.with_goal("disk over payload, settled", Unit::Ratio, ratio, Goal::AtMost(DISK));
    Ok(found)
}

/// The shape of a scenario that measures rate and CPU only.
struct Shape {
    name: &'static str,
    /// Events of a request to the service; 0: one each.
    batch: u32,
    /// Deliveries of a request to the receiver; 0: one each.
    batching: u32,
    /// Mappings that each event matches.
    mappings: u32,
    /// Goals for rate and CPU of a delivery, over the bare loop's.
    goals: (f64, f64),
    /// The same on PostgreSQL.
    server_goals: Option<(f64, f64)>,
}

const BATCHES: Shape = Shape {
    name: "batches of events",
    batch: BATCH,
    batching: 0,
    mappings: 1,
    goals: (0.58, 2.0),
    server_goals: Some((0.33, 3.2)),
};
const BATCHED: Shape =
    Shape { batching: BATCHING, goals: (1.4, 1.1), server_goals: None, ..BATCHES };
const FAN_OUT: Shape = Shape {
    name: "fan-out",
    batch: 0,
    mappings: 10,
    goals: (0.65, 1.6),
    server_goals: None,
    ..BATCHES
};

pub(super) async fn batch(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    BATCHES.run(harness, Scenario::Batch).await
}

pub(super) async fn batched(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    BATCHED.run(harness, Scenario::Batched).await
}

pub(super) async fn fan_out(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    FAN_OUT.run(harness, Scenario::FanOut).await
}

impl Shape {
    async fn run(
        self,
        harness: &mut Harness<'_>,
        scenario: Scenario,
    ) -> anyhow::Result<ScenarioReport> {
        let Self { name, batch, batching, mappings, goals, server_goals } = self;
        let service = harness.one_destination(batching, mappings).await?;
        let part = Part { batch, copies: mappings, ..harness.whole(name) };
        let before = harness.usage(&service).await?;
        let (side, baseline, account) = harness.turns(&service, &part).await?;
        let mut found = ScenarioReport::of(scenario, account);
        found.compare(&side, &baseline, harness.goals(goals, server_goals));
        if let (Some(before), Some(after)) = (before, harness.usage(&service).await?) {
            after.report(before, found.account.acknowledged, &mut found);
        }
        found.latencies(&side);
        peak_rss(&mut found, &service)?;
        service.stop().await?;
        Ok(found)
    }
}

pub(super) async fn steady(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let rate = harness.args.rate;
    let part = Part { rate, ..harness.whole("at a steady rate") };
    let mut found = ScenarioReport::of(Scenario::Steady, Account::default());
    let mut sides = Vec::new();
    for _ in 0..STEADY_TURNS {
        let Outcome { side, account } = harness.through(&service, &part).await?;
        found.account.add(account);
        sides.push(side);
    }
    let side = Measurement::of(&sides);
    found.figure("rate", Unit::PerSecond, side.per_second);
    steady_latencies(&mut found, &side, harness.has_server());
    found.figure("CPU a delivery", Unit::Microseconds, side.cpu_us_each);
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}
