//! Scenario `soak`: minutes of load at a fixed CPU utilization. RSS and WAL at the end against the
//! beginning; latency against a new service in turns, since a machine's speed changes over minutes.

use std::fmt;

use super::cpu::CpuTimes;
use super::goals::peak_rss;
use super::harness::{Harness, Outcome, Part};
use super::measurement::{Account, Measurement, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service::Service;

/// CPU utilization of service, load and receiver together.
const LOAD: f64 = 0.6;
/// Steps of the search for the rate of that utilization, each of a quarter of a part.
const RATE_STEPS: u32 = 7;
/// The first rate, as a share of the rate of single events. CPU grows more slowly than the rate, since write
/// batches grow: about the rate to the power of one over STEEPNESS.
const FIRST: f64 = 0.25;
const STEEPNESS: f64 = 1.5;
/// The lowest utilization of a step: a short one may have no clock tick.
const LEAST_BUSY: f64 = 0.01;
/// Parts of the duration; the medians of the first and the last third are compared: a machine that stalls
/// for a second does so in a few parts.
const PARTS: u64 = 30;
const THIRD: usize = 10;
/// Turns of each service at the end, of half a part; the median counts.
const TURNS: usize = 5;
/// The end over the beginning: no growth, within the noise of a minute.
const GROWTH: f64 = 1.25;

/// The figures of one part.
struct Sample {
    /// CPU utilization, from 0 to 1.
    busy: f64,
    memory: f64,
    log: f64,
    p50: f64,
    p99: f64,
    /// CPU of a request of the bare loop before it, in microseconds.
    bare: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { busy, memory, log, p50, p99, bare } = self;
        write!(out, "load {busy:.2}, RSS {memory:.1} MB, WAL {log:.1} MB, ")?;
        write!(out, "p50 {p50:.2} ms, p99 {p99:.2} ms, bare loop {bare:.1} µs")
    }
}

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let Outcome { side, account } =
        harness.through(&service, &harness.whole("single events")).await?;
    let mut found = ScenarioReport::of(Scenario::Soak, account);
    let millis = harness.args.soak_seconds * 1_000 / PARTS;
    let rate =
        rate_at_load(harness, &service, (side.per_second, millis / 4), &mut found.account).await?;
    let mut samples = Vec::new();
    for _ in 0..PARTS {
        let bare = harness.baseline().await?.cpu_us_each;
        let (side, busy) = at(harness, &service, (rate, millis), &mut found.account).await?;
        let sample = Sample {
            busy,
            memory: to_f64(service.process().memory_bytes()?) / 1e6,
            log: to_f64(service.log_bytes()?) / 1e6,
            p50: f64::from(side.acknowledged.p50_us) / 1e3,
            p99: f64::from(side.acknowledged.p99_us) / 1e3,
            bare,
        };
        harness.remark(&sample.to_string())?;
        samples.push(sample);
    }
    let (firsts, lasts) = (&samples[..THIRD], &samples[samples.len() - THIRD..]);
    found.figure("rate", Unit::PerSecond, f64::from(rate));
    for (what, of) in
        [("RSS", (|sample| sample.memory) as fn(&Sample) -> f64), ("WAL", |sample| sample.log)]
    {
        let ratio = quotient(median(lasts, of), median(firsts, of));
        found.with_goal(
            format!("{what}, last third over first"),
            Unit::Ratio,
            ratio,
            Goal::AtMost(GROWTH),
        );
    }
    for (third, samples) in [("first", firsts), ("last", lasts)] {
        for (what, unit, of) in [
            ("RSS", Unit::Megabytes, (|sample| sample.memory) as fn(&Sample) -> f64),
            ("WAL", Unit::Megabytes, |sample| sample.log),
            ("acknowledgement latency, p50", Unit::Milliseconds, |sample| sample.p50),
            ("acknowledgement latency, p99", Unit::Milliseconds, |sample| sample.p99),
            ("CPU utilization", Unit::Ratio, |sample| sample.busy),
            ("bare loop's CPU a request", Unit::Microseconds, |sample| sample.bare),
        ] {
            found.figure(format!("{what}, {third} third"), unit, median(samples, of));
        }
    }
    against_fresh(harness, &mut found, &service, (rate, millis / 2)).await?;
    peak_rss(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// The rate that gives the CPU utilization.
async fn rate_at_load(
    harness: &mut Harness<'_>,
    service: &Service,
    (most, millis): (f64, u64),
    account: &mut Account,
) -> anyhow::Result<u32> {
    let mut rate = most * FIRST;
    for _ in 0..RATE_STEPS {
        let (_, busy) = at(harness, service, (whole(rate), millis), account).await?;
        rate = (rate * (LOAD / busy.max(LEAST_BUSY)).powf(STEEPNESS)).min(most);
    }
    Ok(whole(rate))
}

/// One part at a rate, and its CPU utilization.
async fn at(
    harness: &mut Harness<'_>,
    service: &Service,
    (rate, millis): (u32, u64),
    account: &mut Account,
) -> anyhow::Result<(Measurement, f64)> {
    let part = Part { rate, millis, ..harness.whole("at a steady rate") };
    let before = CpuTimes::now()?;
    let Outcome { side, account: its } = harness.through(service, &part).await?;
    account.add(its);
    Ok((side, CpuTimes::now()?.busy_since(before)))
}

/// Latency against that of a new service.
async fn against_fresh(
    harness: &mut Harness<'_>,
    found: &mut ScenarioReport,
    service: &Service,
    pace: (u32, u64),
) -> anyhow::Result<()> {
    let fresh = harness.one_destination(0, 1).await?;
    // Its first requests open connections and load code.
    at(harness, &fresh, pace, &mut found.account).await?;
    let mut sides = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (service, sides) in [service, &fresh].into_iter().zip(&mut sides) {
            sides.push(at(harness, service, pace, &mut found.account).await?.0);
        }
    }
    fresh.stop().await?;
    let [old, new] = sides.map(|turns| Measurement::of(&turns).acknowledged);
    for (what, old, new) in [("p50", old.p50_us, new.p50_us), ("p99", old.p99_us, new.p99_us)] {
        found.time(format!("acknowledgement latency at the end, {what}"), old, None);
        let what = format!("acknowledgement latency at the end, {what} over a new service's");
        let ratio = quotient(f64::from(old), f64::from(new));
        found.with_goal(what, Unit::Ratio, ratio, Goal::AtMost(GROWTH));
    }
    Ok(())
}

/// The median of some parts.
fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^31")]
fn whole(per_second: f64) -> u32 {
    per_second.max(1.0) as u32
}
