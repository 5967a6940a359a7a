//! Scenario `functions`: a mapping with a trivial insert function against the same without, in turns.

use serde_json::json;

use super::goals::peak_rss;
use super::harness::{BATCH, Harness, Part};
use super::measurement::{Account, quotient};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::{self, Service};

/// Deliveries a second with the function.
const PER_SECOND: f64 = 10_000.0;
const TURNS: u64 = 3;
const FUNCTION: &str = "function onTrack(event) { return event }";

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let plain = harness.one_destination(0, 1).await?;
    let transforming = transforming(harness).await?;
    let whole = harness.whole("without a function");
    // In batches: intake bounds neither side.
    let part = Part { millis: whole.millis / TURNS, batch: BATCH, ..whole };
    let with = Part { name: "with a function", ..part.clone() };
    let mut found = ScenarioReport::of(Scenario::Functions, Account::default());
    let ([baseline, side], account) =
        harness.alternate(TURNS, [(&plain, &part), (&transforming, &with)]).await?;
    found.account.add(account);
    found.figure("without a function", Unit::PerSecond, baseline.per_second);
    let goal = Goal::AtLeast(PER_SECOND);
    found.with_goal("with a function", Unit::PerSecond, side.per_second, goal);
    let ratio = quotient(side.per_second, baseline.per_second);
    found.figure("with over without", Unit::Ratio, ratio);
    found.figure("CPU a delivery, workers not included", Unit::Microseconds, side.cpu_us_each);
    found.time("delivery latency, p50", side.arrival.p50_us, None);
    peak_rss(&mut found, &transforming)?;
    plain.stop().await?;
    transforming.stop().await?;
    Ok(found)
}

async fn transforming(harness: &Harness<'_>) -> anyhow::Result<Service> {
    let destinations = [service::destination(1)];
    let shape = (harness.args.in_flight, 0);
    let mut pipeline = service::pipeline(harness.address, &destinations, shape);
    let mapping = pipeline.pointer_mut("/sources/0/destinations/0/mappings/0");
    if let Some(mapping) = mapping {
        mapping["function"] = json!({ "source": FUNCTION });
    }
    harness.service(&pipeline).await
}
