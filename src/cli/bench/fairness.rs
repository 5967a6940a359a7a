//! Scenario `fairness`: the acknowledgement latency of a calm source alone and beside a loud one, which sends
//! large batches over many connections as fast as it can.

use std::time::Duration;

use serde_json::json;

use super::goals::peak_rss;
use super::harness::{Harness, Part};
use super::measurement::{Measurement, quotient, to_f64};
use super::report::{ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::{self, Service};

const LOUD_KEY: &str = "bench-loud-write-key";
/// The loud source's connections, and the events of each of its requests.
const LOUD_WORKERS: u32 = 64;
const LOUD_BATCH: u32 = 500;
/// The calm source's connections.
const CALM_WORKERS: u32 = 8;
/// The calm source's rate is this part of the steady rate.
const CALM: u32 = 10;
/// How long the loud source sends before the calm one is measured.
const AHEAD: Duration = Duration::from_secs(2);
/// How many times its latency alone the calm source may wait; or the length of this many commits.
const TIMES_ALONE: f64 = 5.0;
const COMMITS: f64 = 2.0;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let shape = (harness.args.in_flight, 0);
    let mut pipeline = service::pipeline(harness.address, &[service::destination(1)], shape);
    if let Some(sources) = pipeline["sources"].as_array_mut() {
        sources.push(json!({ "name": "loud", "write_key": { "value": LOUD_KEY } }));
    }
    let service = harness.service(&pipeline).await?;
    let rate = (harness.args.rate / CALM).max(1);
    let workers = Some(CALM_WORKERS);
    let calm = Part { rate, workers, ..harness.whole("a calm source alone") };
    let alone = harness.through(&service, &calm).await?;
    let loud = Part {
        millis: calm.millis + 2 * u64::try_from(AHEAD.as_millis())?,
        batch: LOUD_BATCH,
        workers: Some(LOUD_WORKERS),
        write_key: LOUD_KEY,
        ..harness.whole("a loud source")
    };
    let sending = harness.begin(Some(&service), &loud)?;
    tokio::time::sleep(AHEAD).await;
    let before = commits(&service).await?;
    let beside = harness
        .through(&service, &Part { name: "the calm source beside it", ..calm.clone() })
        .await?;
    let after = commits(&service).await?;
    let loud_report = sending.end().await?;
    let commit_ms = quotient(after.0 - before.0, after.1 - before.1) * 1e3;
    let mut found = ScenarioReport::of(Scenario::Fairness, alone.account);
    found.account.add(beside.account);
    compare(&mut found, [&alone.side, &beside.side], commit_ms);
    let micros = u64::try_from(loud_report.last_us - loud_report.first_us).unwrap_or(0);
    let loud_rate = quotient(to_f64(loud_report.acknowledged), to_f64(micros) / 1e6);
    found.figure("loud source, acknowledged", Unit::PerSecond, loud_rate);
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// The seconds and the number of commits so far.
async fn commits(service: &Service) -> anyhow::Result<(f64, f64)> {
    let seconds = service.metric("postrider_commit_seconds_sum").await?;
    Ok((seconds, service.metric("postrider_commit_seconds_count").await?))
}

/// The calm source's latencies, alone and beside the loud one.
fn compare(found: &mut ScenarioReport, [alone, beside]: [&Measurement; 2], commit_ms: f64) {
    let (alone, beside) = (alone.acknowledged, beside.acknowledged);
    let limit = (f64::from(alone.p99_us) / 1e3 * TIMES_ALONE).max(commit_ms * COMMITS);
    found.time("calm source alone: acknowledgement latency, p50", alone.p50_us, None);
    found.time("calm source alone: acknowledgement latency, p99", alone.p99_us, None);
    found.time("beside a loud source: acknowledgement latency, p50", beside.p50_us, None);
    found.time("beside a loud source: acknowledgement latency, p99", beside.p99_us, Some(limit));
    found.figure("beside a loud source: a commit, mean", Unit::Milliseconds, commit_ms);
}
