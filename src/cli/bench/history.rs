//! Scenario `history`: rate and latency of a database with millions of settled deliveries against an
//! empty one, in turns; then the time to start and to deliver with a backlog.

use super::goals::peak_rss;
use super::harness::{BATCH, BATCHING, Harness, Outcome, Part};
use super::measurement::{Account, Measurement, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::{self, Service};
use crate::domain::clock::Clock as _;

/// The rate with history over the one without.
const RATE: f64 = 0.9;
/// Latency with history over latency without: equal, within the noise of a run.
const LATENCY: f64 = 1.1;
/// Time until ready, in milliseconds.
const READY_MS: f64 = 1_000.0;
/// Time to the first delivery, in milliseconds.
const FIRST_DELIVERY_MS: f64 = 2_000.0;
const TURNS: u64 = 5;
/// Time limit for filling, in milliseconds.
const FILLING_MS: u64 = 3_600_000;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let (full, filled) = fill(harness).await?;
    let empty = harness.one_destination(0, 1).await?;
    let mut found = ScenarioReport::of(Scenario::History, Account::default());
    found.figure("settled deliveries", Unit::Count, to_f64(filled.acknowledged));
    let compared = compare(harness, &mut found, (&full, &empty)).await?;
    peak_rss(&mut found, &full)?;
    empty.stop().await?;
    let started = start(harness, &mut found, full).await?;
    found.account = filled;
    found.account.add(compared);
    found.account.add(started);
    Ok(found)
}

/// Fills a database in batches, then reconfigures the service to single deliveries.
async fn fill(harness: &mut Harness<'_>) -> anyhow::Result<(Service, Account)> {
    let service = harness.one_destination(BATCHING, 1).await?;
    let events = harness.args.history;
    let part =
        Part { millis: FILLING_MS, events, batch: BATCH, ..harness.whole("filling the file") };
    let Outcome { account, .. } = harness.through(&service, &part).await?;
    let shape = (harness.args.in_flight, 0);
    let destinations = [service::destination(1)];
    service.apply(&service::pipeline(harness.address, &destinations, shape)).await?;
    Ok((service, account))
}

async fn compare(
    harness: &mut Harness<'_>,
    found: &mut ScenarioReport,
    (full, empty): (&Service, &Service),
) -> anyhow::Result<Account> {
    let full_speed = harness.whole("single events");
    let steady = Part { rate: harness.args.rate, ..harness.whole("at a steady rate") };
    let mut account = Account::default();
    let mut turns = async |part: Part| {
        let part = Part { millis: part.millis / TURNS, ..part };
        let mut sides = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (service, sides) in [full, empty].into_iter().zip(&mut sides) {
                let outcome = harness.through(service, &part).await?;
                sides.push(outcome.side);
                account.add(outcome.account);
            }
        }
        anyhow::Ok(sides.map(|turns| Measurement::of(&turns)))
    };
    let [with, without] = turns(full_speed).await?;
    found.figure("rate", Unit::PerSecond, with.per_second);
    let ratio = quotient(with.per_second, without.per_second);
    found.with_goal("rate over the empty database's", Unit::Ratio, ratio, Goal::AtLeast(RATE));
    let [with, without] = turns(steady).await?;
    for (what, with, without) in [
        ("acknowledgement latency", with.acknowledged, without.acknowledged),
        ("delivery latency", with.arrival, without.arrival),
    ] {
        found.time(format!("{what} at a steady rate, p50"), with.p50_us, None);
        let ratio = quotient(f64::from(with.p50_us), f64::from(without.p50_us));
        let what = format!("{what} at a steady rate, p50 over the empty database's");
        found.with_goal(what, Unit::Ratio, ratio, Goal::AtMost(LATENCY));
    }
    Ok(account)
}

/// Restarts it with deliveries pending.
async fn start(
    harness: &mut Harness<'_>,
    found: &mut ScenarioReport,
    full: Service,
) -> anyhow::Result<Account> {
    harness.take().await?;
    harness.refuse().await?;
    let events = harness.args.backlog;
    let part = Part {
        millis: FILLING_MS,
        events,
        batch: BATCH,
        ..harness.whole("a backlog before the start")
    };
    let load = harness.begin(Some(&full), &part)?.end().await?;
    let halted = full.halt().await?;
    harness.admit().await?;
    harness.take().await?;
    harness.remark("the start …")?;
    let started_at = harness.clock.now();
    let full = halted.start().await?;
    let ready = harness.clock.now().since(started_at).as_secs_f64() * 1e3;
    found.figure("pending at startup", Unit::Count, to_f64(load.acknowledged));
    found.with_goal("time until ready", Unit::Milliseconds, ready, Goal::AtMost(READY_MS));
    harness.arrived(1).await?;
    let first_us = harness.poll().await?.first_us - started_at.as_micros();
    let first_us = u32::try_from(first_us).unwrap_or(u32::MAX);
    found.time("time to first delivery", first_us, Some(FIRST_DELIVERY_MS));
    harness.arrived(load.acknowledged).await?;
    let reading = harness.take().await?;
    full.stop().await?;
    Ok(Account::new(&load, &reading, 1))
}
