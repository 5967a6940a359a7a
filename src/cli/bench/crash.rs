//! Scenario `crash`: a backlog is due, receivers answer at once, and the service is killed. What was answered and not
//! recorded is sent again after the restart: at most as much as the completion queue holds and was in flight.

use super::goals::{peak_rss, peak_rss_bytes};
use super::harness::Harness;
use super::measurement::{Account, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use crate::domain::clock::Clock as _;

const REPEATS: f64 = 4_096.0;
/// Time until ready, in milliseconds.
const READY_MS: f64 = 1_000.0;
/// The service is killed when one delivery in this many has arrived.
const KILLED_AFTER: u64 = 3;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    harness.take().await?;
    harness.refuse().await?;
    let load = harness.collect(&service, "a backlog before the kill").await?;
    let halted = service.halt().await?;
    harness.admit().await?;
    harness.take().await?;
    harness.remark("deliveries, then the kill …")?;
    let service = halted.start().await?;
    harness.arrived(load.acknowledged / KILLED_AFTER).await?;
    let peak = service.process().peak_memory_bytes()?;
    let halted = service.kill().await?;
    let killed_at = harness.poll().await?;
    let started_at = harness.clock.now();
    let service = halted.start().await?;
    let ready = harness.clock.now().since(started_at).as_secs_f64() * 1e3;
    harness.arrived(load.acknowledged).await?;
    let reading = harness.take().await?;
    let mut found = ScenarioReport::of(Scenario::Crash, Account::new(&load, &reading, 1));
    found.figure("due", Unit::Count, to_f64(load.acknowledged));
    found.figure("delivered before the kill", Unit::Count, to_f64(killed_at.distinct));
    let repeats = to_f64(found.account.repeated_deliveries);
    found.with_goal("delivered again after the kill", Unit::Count, repeats, Goal::AtMost(REPEATS));
    found.with_goal("time until ready", Unit::Milliseconds, ready, Goal::AtMost(READY_MS));
    peak_rss_bytes(&mut found, peak);
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}
