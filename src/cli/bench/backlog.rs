//! An endpoint that was away and comes back: how fast what is due is delivered while events go on
//! coming in.

use std::time::Duration;

use super::report::{Found, Goal, Unit};
use super::scenario::{ACKNOWLEDGED_P99_MS, BATCH, Scenario, memory, one_destination};
use super::service::Service;
use super::side::{Account, Side, quotient, to_f64};
use super::stage::{Part, Stage};
use crate::domain::clock::{Clock as _, Timestamp};

/// The rate of the drain over that of single events without a backlog, before it and after.
const RATE: f64 = 0.8;
/// The backlog is worked off when no more than this part of it is owed, or what comes in in a second.
const REST: u64 = 100;
/// Numbers of the events that come in meanwhile begin here: the receiver keeps them apart.
const LATER: u32 = 50_000_000;
/// What collecting the backlog may take, in milliseconds.
const COLLECTING_MS: u64 = 600_000;
/// What working it off may take.
const DRAINING: Duration = Duration::from_secs(600);
const GLANCES: Duration = Duration::from_millis(20);

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let service = one_destination(stage, 0, 1).await?;
    let single = stage.whole("single events");
    let before = stage.through(&service, &single).await?;
    stage.refuse().await?;
    let collected = Part {
        millis: COLLECTING_MS,
        events: stage.args.backlog,
        batch: BATCH,
        ..stage.whole("a backlog")
    };
    let backlog = stage.begin(Some(&service), &collected)?.end().await?;
    stage.take().await?;
    let per_second = before.side.per_second;
    let (mut found, drained) = drain(stage, &service, backlog.acknowledged, per_second).await?;
    let after = stage.through(&service, &single).await?;
    let single = Side::of(&[before.side, after.side]).per_second;
    let what = "rate over that of single events";
    found.judged(what, Unit::Ratio, quotient(drained, single), Goal::AtLeast(RATE));
    found.account.add(before.account);
    found.account.add(after.account);
    memory(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// Lets the endpoint come back, and sends on meanwhile. What was found, and the rate of the drain.
async fn drain(
    stage: &mut Stage<'_>,
    service: &Service,
    backlog: u64,
    single: f64,
) -> anyhow::Result<(Found, f64)> {
    let rate = stage.args.rate;
    // Twice what the drain should take: the events that come in outlast it.
    let seconds = quotient(to_f64(backlog), single) * 2.0 + 5.0;
    let millis = u64::try_from(Duration::from_secs_f64(seconds).as_millis())?;
    let part = Part { millis, rate, first: LATER, ..stage.whole("the endpoint comes back") };
    let sending = stage.begin(Some(service), &part)?;
    let began_at = stage.clock.now();
    stage.admit().await?;
    let (drained_at, delivered) = worked_off(stage, backlog, began_at).await?;
    let first_us = stage.glance().await?.first_us;
    let load = sending.end().await?;
    stage.arrived(backlog + load.acknowledged).await?;
    let reading = stage.take().await?;
    let mut owed = load.clone();
    owed.acknowledged += backlog;
    let mut found = Found::of(Scenario::Backlog, Account::new(&owed, &reading, 1));
    found.figure("due when it comes back", Unit::Count, to_f64(backlog));
    let waited_us = u32::try_from(first_us - began_at.as_micros()).unwrap_or(u32::MAX);
    found.time("until the first delivery", waited_us, None);
    let seconds = to_f64(u64::try_from(drained_at.as_micros() - first_us).unwrap_or(0)) / 1e6;
    let per_second = quotient(to_f64(delivered), seconds);
    found.figure("rate until it is worked off", Unit::PerSecond, per_second);
    found.figure("events that come in meanwhile", Unit::PerSecond, f64::from(rate));
    found.time("acknowledged meanwhile, p50", load.p50_us, None);
    found.time("acknowledged meanwhile, p99", load.p99_us, Some(ACKNOWLEDGED_P99_MS));
    Ok((found, per_second))
}

/// Waits until what is owed is next to nothing. When that was, and how much had arrived.
async fn worked_off(
    stage: &mut Stage<'_>,
    backlog: u64,
    began_at: Timestamp,
) -> anyhow::Result<(Timestamp, u64)> {
    loop {
        let arrived = stage.glance().await?.distinct;
        let now = stage.clock.now();
        let sent = now.since(began_at).as_millis() * u128::from(stage.args.rate) / 1_000;
        let owed = (u128::from(backlog) + sent).saturating_sub(u128::from(arrived));
        let rest = (backlog / REST).max(u64::from(stage.args.rate));
        if owed <= u128::from(rest) || now.since(began_at) > DRAINING {
            return Ok((now, arrived));
        }
        tokio::time::sleep(GLANCES).await;
    }
}
