//! Scenario `nodes`: the same load by one, two and four nodes on one PostgreSQL database.

use super::harness::{BATCH, Harness, Part};
use super::measurement::{Account, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;
use super::service;
use crate::domain::clock::Clock as _;

const COUNTS: [u32; 3] = [1, 2, 4];
/// CPU of an event, nodes and server together, over that with one node.
const CPU: f64 = 1.15;
/// The receiver distinguishes events by number: each node's load has its own.
const APART: u32 = 20_000_000;

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let mut found = ScenarioReport::of(Scenario::Nodes, Account::default());
    let mut alone = 0.0;
    for count in COUNTS {
        let cpu_us = with(harness, &mut found, count).await?;
        if count == 1 {
            alone = cpu_us;
            continue;
        }
        let what = format!("CPU a delivery with {count} nodes over that with one");
        found.with_goal(what, Unit::Ratio, quotient(cpu_us, alone), Goal::AtMost(CPU));
    }
    Ok(found)
}

/// The CPU of a delivery with so many nodes, nodes and server together.
async fn with(
    harness: &mut Harness<'_>,
    found: &mut ScenarioReport,
    count: u32,
) -> anyhow::Result<f64> {
    let first = harness.one_destination(0, 1).await?;
    let mut nodes = Vec::new();
    for number in 1..count {
        nodes.push(first.join(number).await?);
    }
    nodes.insert(0, first);
    harness.take().await?;
    let before = harness.cpu_us(&nodes)?;
    let began_at = harness.clock.now();
    let mut loads = Vec::new();
    for (node, number) in nodes.iter().zip(0..) {
        let part = Part {
            first: number * APART,
            events: harness.args.events.min(APART),
            batch: BATCH,
            workers: Some((harness.args.workers / count).max(1)),
            write_key: service::WRITE_KEY,
            ..harness.whole("batches of events, to each node")
        };
        loads.push(harness.begin(Some(node), &part)?);
    }
    let mut sums = Vec::new();
    for load in loads {
        sums.push(load.end().await?);
    }
    let acknowledged: u64 = sums.iter().map(|load| load.acknowledged).sum();
    let arrived_at = harness.arrived(acknowledged).await?;
    let cpu_us = harness.cpu_us(&nodes)?.saturating_sub(before);
    let reading = harness.take().await?;
    let mut account = Account::new(&sums.swap_remove(0), &reading, 1);
    for load in &sums {
        account.refused += load.failed;
        account.put_off += load.repeated;
    }
    account.acknowledged = acknowledged;
    account.lost = acknowledged.saturating_sub(reading.distinct);
    found.account.add(account);
    let seconds = arrived_at.since(began_at).as_secs_f64();
    let rate = quotient(to_f64(reading.distinct), seconds);
    let each = quotient(to_f64(cpu_us), to_f64(reading.distinct));
    let words = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    found.figure(format!("{words}: rate"), Unit::PerSecond, rate);
    found.figure(format!("{words}: CPU a delivery"), Unit::Microseconds, each);
    for node in nodes.into_iter().rev() {
        node.stop().await?;
    }
    Ok(each)
}
