//! Scenario `redrive`: the dead letters of an outage are redriven while events are sent.

use std::time::Duration;

use serde_json::json;

use super::goals::peak_rss;
use super::harness::{Harness, Part};
use super::measurement::{Account, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use crate::domain::clock::Clock as _;

const ACKNOWLEDGED_P99_MS: f64 = 10.0;
/// The drain rate over the rate of single events without a backlog.
const RATE: f64 = 0.8;
/// The first event number during the redrive.
const LATER: u32 = 50_000_000;
/// How long the redrive may take.
const DRAINING_MS: u64 = 600_000;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let single = harness.whole("single events");
    let single = harness.through(&service, &single).await?;
    harness.reject().await?;
    let dead = harness.collect(&service, "dead letters").await?;
    harness.refused(dead.acknowledged).await?;
    harness.admit().await?;
    harness.take().await?;
    // Twice the expected time: intake goes on beyond the redrive.
    let seconds = quotient(to_f64(dead.acknowledged), single.side.per_second) * 2.0 + 5.0;
    let millis = u64::try_from(Duration::from_secs_f64(seconds).as_millis())?.min(DRAINING_MS);
    let rate = harness.args.rate;
    let part = Part { millis, rate, first: LATER, ..harness.whole("the redrive") };
    let sending = harness.begin(Some(&service), &part)?;
    let began_at = harness.clock.now();
    let job = json!({ "filter": { "state": "dead" } });
    let (status, answer) = service.client()?.post("/api/v1/redrives", &job).await?;
    anyhow::ensure!(status.is_success(), "the redrive was refused: {answer}");
    let ended_at = harness.arrived(dead.acknowledged).await?;
    let delivered = harness.poll().await?.distinct;
    let load = sending.end().await?;
    harness.arrived(dead.acknowledged + load.acknowledged).await?;
    let reading = harness.take().await?;
    let mut owed = load.clone();
    owed.acknowledged += dead.acknowledged;
    let mut account = Account::new(&owed, &reading, 1);
    account.add(single.account);
    let mut found = ScenarioReport::of(Scenario::Redrive, account);
    found.figure("dead letters", Unit::Count, to_f64(dead.acknowledged));
    let per_second = quotient(to_f64(delivered), ended_at.since(began_at).as_secs_f64());
    found.figure("delivery rate during the redrive", Unit::PerSecond, per_second);
    let ratio = quotient(per_second, single.side.per_second);
    let what = "delivery rate over the rate of single events";
    found.with_goal(what, Unit::Ratio, ratio, Goal::AtLeast(RATE));
    found.time("acknowledgement latency, p50", load.p50_us, None);
    found.time("acknowledgement latency, p99", load.p99_us, Some(ACKNOWLEDGED_P99_MS));
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}
