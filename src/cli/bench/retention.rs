//! Scenario `retention`: a steady rate with and without retention beside it, in turns. As many events are removed
//! as are accepted: older ones, which are in the database before.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::goals::peak_rss;
use super::harness::{BATCH, COLLECTING_MS, Harness, Outcome, Part};
use super::measurement::{Account, Measurement, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::Service;
use crate::domain::clock::{Clock as _, SystemClock};

/// Turns of each side.
const TURNS: u64 = 3;
/// CPU an event and acknowledged p99, over those without retention.
const TIMES: f64 = 1.5;
/// Events removed over events accepted in the same turns.
const REMOVED: f64 = 0.95;
/// How often events are removed.
const TICK: Duration = Duration::from_millis(250);
/// The age of what is removed: the shortest.
const AGE: &str = "1s";

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let rate = harness.args.rate;
    let turn = harness.whole("without retention");
    let turn = Part { millis: turn.millis / TURNS, rate, ..turn };
    let mut account = fill(harness, &service).await?;
    let (mut without, mut with, mut removed, mut accepted) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..TURNS {
        let outcome = harness.through(&service, &turn).await?;
        account.add(outcome.account);
        without.push(outcome.side);
        let part = Part { name: "with retention", ..turn.clone() };
        let (outcome, events) = beside_retention(harness, &service, &part).await?;
        accepted += outcome.account.acknowledged;
        account.add(outcome.account);
        with.push(outcome.side);
        removed += events;
    }
    let mut found = ScenarioReport::of(Scenario::Retention, account);
    let share = quotient(to_f64(removed), to_f64(accepted));
    let what = "events removed over events accepted";
    found.with_goal(what, Unit::Ratio, share, Goal::AtLeast(REMOVED));
    compare(&mut found, &Measurement::of(&without), &Measurement::of(&with));
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// Sends the events that are removed later, with their deliveries.
async fn fill(harness: &mut Harness<'_>, service: &Service) -> anyhow::Result<Account> {
    let part = harness.whole("events to remove");
    let seconds = u32::try_from(harness.args.seconds)?;
    let events = harness.args.rate.saturating_mul(seconds).min(part.events);
    let part = Part { millis: COLLECTING_MS, events, batch: BATCH, ..part };
    Ok(harness.through(service, &part).await?.account)
}

/// A turn with retention beside it, and how many events that removed.
async fn beside_retention(
    harness: &mut Harness<'_>,
    service: &Service,
    part: &Part,
) -> anyhow::Result<(Outcome, u64)> {
    let ended = CancellationToken::new();
    let measured = async {
        let outcome = harness.through(service, part).await;
        ended.cancel();
        outcome
    };
    let (outcome, removed) = tokio::join!(measured, remove(service, part, &ended));
    Ok((outcome?, removed?))
}

/// Removes events at the part's rate until it has ended. How many.
async fn remove(service: &Service, part: &Part, ended: &CancellationToken) -> anyhow::Result<u64> {
    let client = service.client()?;
    let clock = SystemClock::new();
    let began_at = clock.now();
    let end = Duration::from_millis(part.millis);
    let mut removed = 0;
    while !ended.is_cancelled() {
        let millis = clock.now().since(began_at).min(end).as_millis();
        let owed = u64::try_from(millis)? * u64::from(part.rate) / 1_000;
        let owed = owed.saturating_sub(removed);
        if owed > 0 {
            let request = json!({ "older_than": AGE, "limit": owed.min(100_000) });
            let (status, answer) = client.post("/api/v1/prune", &request).await?;
            anyhow::ensure!(status.is_success(), "pruning was refused: {answer}");
            removed += answer["events"].as_u64().context("no count of events")?;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = ended.cancelled() => {}
        }
    }
    Ok(removed)
}

fn compare(found: &mut ScenarioReport, without: &Measurement, with: &Measurement) {
    let cpu = quotient(with.cpu_us_each, without.cpu_us_each);
    let what = "CPU an event over that without retention";
    found.with_goal(what, Unit::Ratio, cpu, Goal::AtMost(TIMES));
    let (fast, slow) = (without.acknowledged.p99_us, with.acknowledged.p99_us);
    found.time("without retention: acknowledgement latency, p99", fast, None);
    found.time("with retention: acknowledgement latency, p99", slow, None);
    let what = "acknowledgement latency, p99, over that without retention";
    let ratio = quotient(f64::from(slow), f64::from(fast));
    found.with_goal(what, Unit::Ratio, ratio, Goal::AtMost(TIMES));
}
