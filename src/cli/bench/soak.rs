//! Minutes at the rate that takes a part of the processors' time: memory, log and latency at the end
//! against those at the beginning, and beside them what the machine gave a bare loop meanwhile.

use std::fmt;

use super::processors::Processors;
use super::report::{Found, Goal, Unit};
use super::scenario::{Scenario, memory, one_destination};
use super::service::Service;
use super::side::{Account, Side, quotient, to_f64};
use super::stage::{Outcome, Part, Stage};

/// The share of the processors' time that service, load and receiver take together.
const LOAD: f64 = 0.6;
/// The rate that takes it is looked for between none and all that single events reach, in halves.
const HALVINGS: u32 = 7;
/// Parts of the time; a third at each end is compared, each by its middle one: a machine that stands
/// still for a second does so in a few of them.
const PARTS: u64 = 30;
const THIRD: usize = 10;
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
    for (what, unit, of) in [
        ("memory", Unit::Megabytes, (|look| look.memory) as fn(&Look) -> f64),
        ("log", Unit::Megabytes, |look| look.log),
        ("acknowledged, p50", Unit::Milliseconds, |look| look.p50),
        ("acknowledged, p99", Unit::Milliseconds, |look| look.p99),
    ] {
        let (first, last) = (middle(firsts, of), middle(lasts, of));
        found.figure(format!("{what}, first third"), unit, first);
        found.figure(format!("{what}, last third"), unit, last);
        let ratio = quotient(last, first);
        found.judged(format!("{what}, last over first"), Unit::Ratio, ratio, Goal::AtMost(GROWTH));
    }
    for (third, looks) in [("first", firsts), ("last", lasts)] {
        let what = format!("processors busy, {third} third");
        found.figure(what, Unit::Ratio, middle(looks, |look| look.busy));
        let what = format!("bare loop's CPU a request, {third} third");
        found.figure(what, Unit::Microseconds, middle(looks, |look| look.bare));
    }
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
    let (mut low, mut high) = (1, floor(most).max(2));
    for _ in 0..HALVINGS {
        let rate = u32::midpoint(low, high);
        let (_, busy) = at(stage, service, (rate, millis), account).await?;
        *(if busy < LOAD { &mut low } else { &mut high }) = rate;
    }
    Ok(low)
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

/// The middle of what some parts gave.
fn middle(looks: &[Look], of: fn(&Look) -> f64) -> f64 {
    let mut values: Vec<f64> = looks.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^31")]
fn floor(per_second: f64) -> u32 {
    per_second as u32
}
