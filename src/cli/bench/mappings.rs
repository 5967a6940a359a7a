//! Scenario `mappings`: a source with thousands of mappings of which each event matches one, against a source
//! with few, in turns.

use serde_json::{Value, json};

use super::goals::peak_rss;
use super::harness::{BATCH, Harness, Part};
use super::measurement::{Account, quotient};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service;
use crate::domain::clock::Clock as _;

/// CPU of an event over that with few mappings.
const CPU: f64 = 1.3;
const APPLIED_MS: f64 = 2_000.0;
const FEW: u32 = 50;
const TURNS: u64 = 3;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let few = harness.service(&pipeline(harness, FEW)).await?;
    let many = harness.one_destination(0, 1).await?;
    let began_at = harness.clock.now();
    many.apply(&pipeline(harness, harness.args.triggers)).await?;
    let applied_ms = harness.clock.now().since(began_at).as_secs_f64() * 1e3;
    let whole = harness.whole("few mappings");
    let part = Part { millis: whole.millis / TURNS, batch: BATCH, ..whole };
    let with = Part { name: "many mappings", ..part.clone() };
    let mut found = ScenarioReport::of(Scenario::Mappings, Account::default());
    let ([baseline, side], account) =
        harness.alternate(TURNS, [(&few, &part), (&many, &with)]).await?;
    found.account.add(account);
    found.figure("mappings", Unit::Count, f64::from(harness.args.triggers));
    found.with_goal("time to apply", Unit::Milliseconds, applied_ms, Goal::AtMost(APPLIED_MS));
    found.figure("CPU a delivery", Unit::Microseconds, side.cpu_us_each);
    found.figure("CPU a delivery, with few mappings", Unit::Microseconds, baseline.cpu_us_each);
    let ratio = quotient(side.cpu_us_each, baseline.cpu_us_each);
    found.with_goal("CPU over that with few", Unit::Ratio, ratio, Goal::AtMost(CPU));
    peak_rss(&mut found, &many)?;
    few.stop().await?;
    many.stop().await?;
    Ok(found)
}

/// One mapping for every event, and others whose triggers none matches.
fn pipeline(harness: &Harness<'_>, mappings: u32) -> Value {
    let shape = (harness.args.in_flight, 0);
    let mut pipeline = service::pipeline(harness.address, &service::destinations(mappings), shape);
    let destinations =
        pipeline.pointer_mut("/sources/0/destinations").and_then(Value::as_array_mut);
    let mappings =
        destinations.into_iter().flatten().filter_map(|it| it["mappings"].as_array_mut());
    let others = mappings.flatten().enumerate().skip(1);
    for (number, mapping) in others {
        mapping["trigger"] = json!(match number % 3 {
            0 => format!("type = \"track\" and event = \"Other {number}\""),
            1 => format!("event in [\"Other {number}\", \"Another {number}\"]"),
            _ => format!("type = \"track\" and properties.plan = \"plan-{number}\""),
        });
    }
    pipeline
}
