//! Minutes at the rate that takes a part of the processors' time: memory and log at the end against those
//! at the beginning, and latency against that of a service that has just begun, in turns: over minutes a
//! machine changes by more than a service may.

use std::fmt;

use super::processors::Processors;
use super::report::{Found, Goal, Unit};
use super::scenario::{Scenario, memory, one_destination};
use super::service::Service;
use super::side::{Account, Side, quotient, to_f64};
use super::stage::{Outcome, Part, Stage};

/// The share of the processors' time that service, load and receiver take together.
const LOAD: f64 = 0.6;
/// Looks for the rate that takes it, each of a quarter of a part: what one gets wrong the next puts right.
const LOOKS: u32 = 7;
/// From so much of what single events reach. Twice the rate takes less than twice the time, for more events
/// share a transaction: about the rate to the power of one over this.
const FIRST: f64 = 0.25;
const STEEPNESS: f64 = 1.5;
/// The least that a look takes for busy: in a moment without a tick nothing was.
const LEAST_BUSY: f64 = 0.01;
/// Parts of the time; a third at each end is compared, each by its middle one: a machine that stands
/// still for a second does so in a few of them.
const PARTS: u64 = 30;
const THIRD: usize = 10;
/// Of each service at the end, of half a part; the one in the middle counts.
const TURNS: usize = 5;
/// The end over the beginning: no growth, but for what one minute differs from another.
const GROWTH: f64 = 1.25;

/// What a part of the time gave.
struct Look {
    /// Of the processors' time, of 1.
    busy: f64,
    memory: f64,
    log: f64,
    p50: f64,
    p99: f64,
    /// CPU of a request of the bare loop just before it, in microseconds.
    bare: f64,
}

impl fmt::Display for Look {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { busy, memory, log, p50, p99, bare } = self;
        write!(out, "load {busy:.2}, memory {memory:.1} MB, log {log:.1} MB, ")?;
        write!(out, "p50 {p50:.2} ms, p99 {p99:.2} ms, bare loop {bare:.1} µs")
    }
}

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let service = one_destination(stage, 0, 1).await?;
    let Outcome { side, account } = stage.through(&service, &stage.whole("single events")).await?;
    let mut found = Found::of(Scenario::Soak, account);
    let millis = stage.args.soak_seconds * 1_000 / PARTS;
    let rate =
        rate_at_load(stage, &service, (side.per_second, millis / 4), &mut found.account).await?;
    let mut looks = Vec::new();
    for _ in 0..PARTS {
        let bare = stage.baseline().await?.cpu_us_each;
        let (side, busy) = at(stage, &service, (rate, millis), &mut found.account).await?;
        let look = Look {
            busy,
            memory: to_f64(service.process().memory_bytes()?) / 1e6,
            log: to_f64(service.log_bytes()?) / 1e6,
            p50: f64::from(side.acknowledged.p50_us) / 1e3,
            p99: f64::from(side.acknowledged.p99_us) / 1e3,
            bare,
        };
        stage.remark(&look.to_string())?;
        looks.push(look);
    }
    let (firsts, lasts) = (&looks[..THIRD], &looks[looks.len() - THIRD..]);
    found.figure("rate", Unit::PerSecond, f64::from(rate));
    for (what, of) in
        [("memory", (|look| look.memory) as fn(&Look) -> f64), ("log", |look| look.log)]
    {
        let ratio = quotient(middle(lasts, of), middle(firsts, of));
        found.judged(format!("{what}, last over first"), Unit::Ratio, ratio, Goal::AtMost(GROWTH));
    }
    for (third, looks) in [("first", firsts), ("last", lasts)] {
        for (what, unit, of) in [
            ("memory", Unit::Megabytes, (|look| look.memory) as fn(&Look) -> f64),
            ("log", Unit::Megabytes, |look| look.log),
            ("acknowledged, p50", Unit::Milliseconds, |look| look.p50),
            ("acknowledged, p99", Unit::Milliseconds, |look| look.p99),
            ("processors busy", Unit::Ratio, |look| look.busy),
            ("bare loop's CPU a request", Unit::Microseconds, |look| look.bare),
        ] {
            found.figure(format!("{what}, {third} third"), unit, middle(looks, of));
        }
    }
    against_fresh(stage, &mut found, &service, (rate, millis / 2)).await?;
    memory(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// The rate at which the processors are as busy as they are to be.
async fn rate_at_load(
    stage: &mut Stage<'_>,
    service: &Service,
    (most, millis): (f64, u64),
    account: &mut Account,
) -> anyhow::Result<u32> {
    let mut rate = most * FIRST;
    for _ in 0..LOOKS {
        let (_, busy) = at(stage, service, (whole(rate), millis), account).await?;
        rate = (rate * (LOAD / busy.max(LEAST_BUSY)).powf(STEEPNESS)).min(most);
    }
    Ok(whole(rate))
}

/// A while at a rate, and how busy the processors were.
async fn at(
    stage: &mut Stage<'_>,
    service: &Service,
    (rate, millis): (u32, u64),
    account: &mut Account,
) -> anyhow::Result<(Side, f64)> {
    let part = Part { rate, millis, ..stage.whole("at a steady rate") };
    let before = Processors::now()?;
    let Outcome { side, account: its } = stage.through(service, &part).await?;
    account.add(its);
    Ok((side, Processors::now()?.busy_since(before)))
}

/// Latency against that of a service that has just begun.
async fn against_fresh(
    stage: &mut Stage<'_>,
    found: &mut Found,
    service: &Service,
    pace: (u32, u64),
) -> anyhow::Result<()> {
    let fresh = one_destination(stage, 0, 1).await?;
    // Its first requests open connections and bring code into memory.
    at(stage, &fresh, pace, &mut found.account).await?;
    let mut sides = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (service, sides) in [service, &fresh].into_iter().zip(&mut sides) {
            sides.push(at(stage, service, pace, &mut found.account).await?.0);
        }
    }
    fresh.stop().await?;
    let [old, new] = sides.map(|turns| Side::of(&turns).acknowledged);
    for (what, old, new) in [("p50", old.p50_us, new.p50_us), ("p99", old.p99_us, new.p99_us)] {
        found.time(format!("acknowledged at the end, {what}"), old, None);
        let what = format!("acknowledged at the end, {what} over a fresh service's");
        let ratio = quotient(f64::from(old), f64::from(new));
        found.judged(what, Unit::Ratio, ratio, Goal::AtMost(GROWTH));
    }
    Ok(())
}

/// The middle of what some parts gave.
fn middle(looks: &[Look], of: fn(&Look) -> f64) -> f64 {
    let mut values: Vec<f64> = looks.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^31")]
fn whole(per_second: f64) -> u32 {
    per_second.max(1.0) as u32
}
