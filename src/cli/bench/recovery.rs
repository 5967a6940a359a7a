//! Scenario `recovery`: a service with many mappings starts with a backlog that is due for all of them.

use super::goals::peak_rss;
use super::harness::{COLLECTING_MS, Harness, Part};
use super::measurement::{Account, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service;
use crate::domain::clock::Clock as _;

const READY_MS: f64 = 1_000.0;
const ACKNOWLEDGED_P99_MS: f64 = 10.0;
/// Events a second during the recovery; each has a delivery for every mapping.
const RATE: u32 = 2;
/// The first event number during the recovery.
const LATER: u32 = 50_000_000;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let mappings = harness.args.mappings;
    let destinations = service::destinations(mappings);
    let shape = (harness.args.in_flight, 0);
    let pipeline = service::pipeline(harness.address, &destinations, shape);
    let service = harness.service(&pipeline).await?;
    harness.take().await?;
    harness.refuse().await?;
    let events = (harness.args.backlog / mappings).max(1);
    let part =
        Part { millis: COLLECTING_MS, events, ..harness.whole("a backlog before the start") };
    let load = harness.begin(Some(&service), &part)?.end().await?;
    let due = load.acknowledged * u64::from(mappings);
    let halted = service.halt().await?;
    harness.admit().await?;
    harness.take().await?;
    harness.remark("the start …")?;
    let started_at = harness.clock.now();
    let service = halted.start().await?;
    let ready = harness.clock.now().since(started_at).as_secs_f64() * 1e3;
    let part = Part { rate: RATE, first: LATER, ..harness.whole("during the recovery") };
    let sent = harness.begin(Some(&service), &part)?.end().await?;
    harness.arrived(due + sent.acknowledged * u64::from(mappings)).await?;
    let reading = harness.take().await?;
    let mut owed = load.clone();
    owed.acknowledged += sent.acknowledged;
    let account = Account::new(&owed, &reading, u64::from(mappings));
    let mut found = ScenarioReport::of(Scenario::Recovery, account);
    found.figure("mappings", Unit::Count, f64::from(mappings));
    found.figure("due at startup", Unit::Count, to_f64(due));
    found.with_goal("time until ready", Unit::Milliseconds, ready, Goal::AtMost(READY_MS));
    found.time("acknowledgement latency, p50", sent.p50_us, None);
    found.time("acknowledgement latency, p99", sent.p99_us, Some(ACKNOWLEDGED_P99_MS));
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}
