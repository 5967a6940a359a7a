//! Scenario `apply`: a pipeline with thousands of sources is applied at once while events are sent.

use serde_json::{Value, json};

use super::harness::{Harness, Part};
use super::measurement::Account;
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service;
use crate::domain::clock::Clock as _;

const APPLIED_MS: f64 = 1_500.0;
const ACKNOWLEDGED_MAX_MS: f64 = 100.0;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    harness.take().await?;
    let part = Part { rate: harness.args.rate, ..harness.whole("a large pipeline is applied") };
    let sending = harness.begin(Some(&service), &part)?;
    let shape = (harness.args.in_flight, 0);
    let destinations = [service::destination(1)];
    let mut pipeline = service::pipeline(harness.address, &destinations, shape);
    add_sources(&mut pipeline, harness.args.sources);
    let began_at = harness.clock.now();
    service.apply(&pipeline).await?;
    let took = harness.clock.now().since(began_at).as_secs_f64() * 1e3;
    let load = sending.end().await?;
    harness.arrived(load.acknowledged).await?;
    let reading = harness.take().await?;
    let mut found = ScenarioReport::of(Scenario::Apply, Account::new(&load, &reading, 1));
    found.figure("sources", Unit::Count, f64::from(harness.args.sources));
    found.with_goal("time to apply", Unit::Milliseconds, took, Goal::AtMost(APPLIED_MS));
    found.time("acknowledgement latency, p50", load.p50_us, None);
    found.time("acknowledgement latency, p99", load.p99_us, None);
    found.time("acknowledgement latency, longest", load.max_us, Some(ACKNOWLEDGED_MAX_MS));
    service.stop().await?;
    Ok(found)
}

/// Adds sources, each with a destination and a mapping.
fn add_sources(pipeline: &mut Value, count: u32) {
    let Some(sources) = pipeline["sources"].as_array_mut() else { return };
    sources.extend((0..count).map(|number| {
        json!({
            "name": format!("source-{number}"),
            "write_key": { "value": format!("bench-write-key-{number}") },
            "destinations": [{
                "name": "receiver",
                "shared_secret": { "value": format!("bench-shared-secret-{number}") },
                "mappings": [{ "name": "all", "url": "http://127.0.0.1:9/" }],
            }],
        })
    }));
}
