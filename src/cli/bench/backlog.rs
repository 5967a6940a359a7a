//! Scenario `backlog`: a destination recovers, and its backlog is drained while intake continues.

use std::time::Duration;

use super::goals::{ACKNOWLEDGED_P99_MS, peak_rss};
use super::harness::{Harness, Part};
use super::measurement::{Account, Measurement, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::Service;
use crate::domain::clock::{Clock as _, Timestamp};

/// The drain rate over the rate of single events without a backlog, before and after.
const RATE: f64 = 0.8;
/// The backlog is drained when one part in this many, or the intake of a second, remains.
const REST: u64 = 100;
/// The first event number during the drain: the receiver distinguishes events by number.
const LATER: u32 = 50_000_000;
/// Time limit for the drain.
const DRAINING: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let single = harness.whole("single events");
    let before = harness.through(&service, &single).await?;
    harness.refuse().await?;
    let backlog = harness.collect(&service, "a backlog").await?;
    harness.take().await?;
    let per_second = before.side.per_second;
    let (mut found, drained) = drain(harness, &service, backlog.acknowledged, per_second).await?;
    let after = harness.through(&service, &single).await?;
    let single = Measurement::of(&[before.side, after.side]).per_second;
    let what = "drain rate over the rate of single events";
    found.with_goal(what, Unit::Ratio, quotient(drained, single), Goal::AtLeast(RATE));
    found.account.add(before.account);
    found.account.add(after.account);
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// The destination recovers while events are sent. The report, and the drain rate.
async fn drain(
    harness: &mut Harness<'_>,
    service: &Service,
    backlog: u64,
    single: f64,
) -> anyhow::Result<(ScenarioReport, f64)> {
    let rate = harness.args.rate;
    // Twice the expected time: intake continues beyond the drain.
    let seconds = quotient(to_f64(backlog), single) * 2.0 + 5.0;
    let millis = u64::try_from(Duration::from_secs_f64(seconds).as_millis())?;
    let part = Part { millis, rate, first: LATER, ..harness.whole("the endpoint comes back") };
    let sending = harness.begin(Some(service), &part)?;
    let began_at = harness.clock.now();
    harness.admit().await?;
    let (drained_at, delivered) = wait_drained(harness, backlog, began_at).await?;
    let first_us = harness.poll().await?.first_us;
    let load = sending.end().await?;
    harness.arrived(backlog + load.acknowledged).await?;
    let reading = harness.take().await?;
    let mut owed = load.clone();
    owed.acknowledged += backlog;
    let mut found = ScenarioReport::of(Scenario::Backlog, Account::new(&owed, &reading, 1));
    found.figure("backlog at recovery", Unit::Count, to_f64(backlog));
    let waited_us = u32::try_from(first_us - began_at.as_micros()).unwrap_or(u32::MAX);
    found.time("time to first delivery", waited_us, None);
    let seconds = to_f64(u64::try_from(drained_at.as_micros() - first_us).unwrap_or(0)) / 1e6;
    let per_second = quotient(to_f64(delivered), seconds);
    found.figure("drain rate", Unit::PerSecond, per_second);
    found.figure("intake during the drain", Unit::PerSecond, f64::from(rate));
    found.time("acknowledgement latency during the drain, p50", load.p50_us, None);
    found.time(
        "acknowledgement latency during the drain, p99",
        load.p99_us,
        Some(ACKNOWLEDGED_P99_MS),
    );
    Ok((found, per_second))
}

/// Waits until the backlog is drained. When that was, and how many deliveries had arrived.
async fn wait_drained(
    harness: &mut Harness<'_>,
    backlog: u64,
    began_at: Timestamp,
) -> anyhow::Result<(Timestamp, u64)> {
    loop {
        let arrived = harness.poll().await?.distinct;
        let now = harness.clock.now();
        let sent = now.since(began_at).as_millis() * u128::from(harness.args.rate) / 1_000;
        let owed = (u128::from(backlog) + sent).saturating_sub(u128::from(arrived));
        let rest = (backlog / REST).max(u64::from(harness.args.rate));
        if owed <= u128::from(rest) || now.since(began_at) > DRAINING {
            return Ok((now, arrived));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
