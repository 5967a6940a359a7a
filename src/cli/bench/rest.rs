//! Scenario `rest`: a service whose whole backlog waits for its retries costs next to nothing.

use std::time::Duration;

use super::goals::peak_rss;
use super::harness::Harness;
use super::measurement::{Account, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;

/// CPU at rest, in percent of one core.
const CPU_PERCENT: f64 = 0.5;
/// Until the circuit is open, the last attempts are recorded, and the WAL is checkpointed.
const SETTLING: Duration = Duration::from_secs(20);

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    harness.take().await?;
    harness.refuse().await?;
    let load = harness.collect(&service, "a backlog").await?;
    harness.remark("at rest …")?;
    let span = Duration::from_secs(harness.args.rest_seconds);
    tokio::time::sleep(SETTLING.min(span)).await;
    let (cpu_us, read) = (service.process().cpu_us()?, service.process().read_bytes()?);
    tokio::time::sleep(span).await;
    let cpu_us = service.process().cpu_us()?.saturating_sub(cpu_us);
    let read = service.process().read_bytes()?.saturating_sub(read);
    let mut account = Account { acknowledged: load.acknowledged, ..Account::default() };
    account.refused = load.failed;
    let mut found = ScenarioReport::of(Scenario::Rest, account);
    found.figure("waiting for a retry", Unit::Count, to_f64(load.acknowledged));
    let percent = quotient(to_f64(cpu_us), span.as_secs_f64() * 1e6) * 100.0;
    found.with_goal("CPU of one core", Unit::Percent, percent, Goal::AtMost(CPU_PERCENT));
    found.figure("read from files", Unit::Megabytes, to_f64(read) / 1e6);
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    harness.admit().await?;
    Ok(found)
}
