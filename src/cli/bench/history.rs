//! Whether speed stays as history grows: a file with millions of settled deliveries against an empty
//! one, rate and latency in turns; then how soon it starts and delivers with a backlog on top.

use super::report::{Found, Goal, Unit};
use super::scenario::{BATCH, BATCHING, Scenario, both, memory, one_destination};
use super::service::{self, Service};
use super::side::{Account, Side, quotient, to_f64};
use super::stage::{Outcome, Part, Stage};
use crate::domain::clock::Clock as _;

/// The rate with history over the one without.
const RATE: f64 = 0.9;
/// Latency with history over latency without: the same, but for what one run differs from the next.
const LATENCY: f64 = 1.1;
/// Until it is ready, in milliseconds.
const READY_MS: f64 = 1_000.0;
/// Until the first delivery, in milliseconds.
const FIRST_DELIVERY_MS: f64 = 2_000.0;
const TURNS: u64 = 5;
/// What filling may take, in milliseconds.
const FILLING_MS: u64 = 3_600_000;

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let (full, filled) = fill(stage).await?;
    let empty = one_destination(stage, 0, 1).await?;
    let mut found = Found::of(Scenario::History, Account::default());
    found.figure("settled deliveries", Unit::Count, to_f64(filled.acknowledged));
    let compared = compare(stage, &mut found, (&full, &empty)).await?;
    memory(&mut found, &full)?;
    empty.stop().await?;
    let started = start(stage, &mut found, full).await?;
    found.account = both(both(filled, compared), started);
    Ok(found)
}

/// Fills a service the quickest way there is, then sets it up to deliver one by one.
async fn fill(stage: &mut Stage<'_>) -> anyhow::Result<(Service, Account)> {
    let service = one_destination(stage, BATCHING, 1).await?;
    let events = stage.args.history;
    let part = Part { millis: FILLING_MS, events, batch: BATCH, ..stage.whole("filling the file") };
    let Outcome { account, .. } = stage.through(&service, &part).await?;
    let shape = (stage.args.in_flight, 0);
    let destinations = [service::destination(1)];
    service.apply(&service::pipeline(stage.address, &destinations, shape)).await?;
    Ok((service, account))
}

async fn compare(
    stage: &mut Stage<'_>,
    found: &mut Found,
    (full, empty): (&Service, &Service),
) -> anyhow::Result<Account> {
    let full_speed = stage.whole("single events");
    let steady = Part { rate: stage.args.rate, ..stage.whole("at a steady rate") };
    let mut account = Account::default();
    let mut turns = async |part: Part| {
        let part = Part { millis: part.millis / TURNS, ..part };
        let mut sides = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (service, sides) in [full, empty].into_iter().zip(&mut sides) {
                let outcome = stage.through(service, &part).await?;
                sides.push(outcome.side);
                account.add(outcome.account);
            }
        }
        anyhow::Ok(sides.map(|turns| Side::of(&turns)))
    };
    let [with, without] = turns(full_speed).await?;
    found.figure("rate", Unit::PerSecond, with.per_second);
    let ratio = quotient(with.per_second, without.per_second);
    found.judged("rate over the empty file's", Unit::Ratio, ratio, Goal::AtLeast(RATE));
    let [with, without] = turns(steady).await?;
    for (what, with, without) in [
        ("acknowledged", with.acknowledged, without.acknowledged),
        ("arrived", with.arrival, without.arrival),
    ] {
        found.time(format!("{what} at a steady rate, p50"), with.p50_us, None);
        let ratio = quotient(f64::from(with.p50_us), f64::from(without.p50_us));
        let what = format!("{what} at a steady rate, p50 over the empty file's");
        found.judged(what, Unit::Ratio, ratio, Goal::AtMost(LATENCY));
    }
    Ok(account)
}

/// Starts it again with deliveries pending.
async fn start(stage: &mut Stage<'_>, found: &mut Found, full: Service) -> anyhow::Result<Account> {
    stage.take().await?;
    stage.refuse().await?;
    let events = stage.args.backlog;
    let part = Part {
        millis: FILLING_MS,
        events,
        batch: BATCH,
        ..stage.whole("a backlog before the start")
    };
    let load = stage.begin(Some(&full), &part)?.end().await?;
    let halted = full.halt().await?;
    stage.admit().await?;
    stage.take().await?;
    stage.remark("the start …")?;
    let started_at = stage.clock.now();
    let full = halted.start().await?;
    let ready = stage.clock.now().since(started_at).as_secs_f64() * 1e3;
    found.figure("pending at the start", Unit::Count, to_f64(load.acknowledged));
    found.judged("ready", Unit::Milliseconds, ready, Goal::AtMost(READY_MS));
    stage.arrived(1).await?;
    let first_us = stage.glance().await?.first_us - started_at.as_micros();
    let first_us = u32::try_from(first_us).unwrap_or(u32::MAX);
    found.time("first delivery", first_us, Some(FIRST_DELIVERY_MS));
    stage.arrived(load.acknowledged).await?;
    let reading = stage.take().await?;
    full.stop().await?;
    Ok(Account::new(&load, &reading, 1))
}
