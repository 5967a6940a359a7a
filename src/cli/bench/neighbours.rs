//! Whether destinations suffer from a bad neighbour: fifty of them get every event, all of them well,
//! then with one that never answers and one that always fails.

use super::receiver::{FAIL, HANG};
use super::report::{Found, Goal, Unit};
use super::scenario::{Scenario, peak_memory};
use super::service::{self, Destination};
use super::side::{Account, Side, quotient};
use super::stage::{Outcome, Part, Stage};

const DESTINATIONS: u32 = 50;
/// The 99th percentile beside bad neighbours over that without.
const P99: f64 = 1.3;
/// Of each, in turns; the one in the middle counts.
const TURNS: usize = 3;

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let good: Vec<_> = (0..DESTINATIONS).map(|number| format!("/{number}")).collect();
    let mut mixed = good.clone();
    mixed.splice(..2, [HANG, FAIL].map(str::to_owned));
    let cases = [
        (good, DESTINATIONS, "every destination well"),
        (mixed, DESTINATIONS - 2, "one that hangs and one that fails"),
    ];
    let mut found = Found::of(Scenario::Neighbours, Account::default());
    let (mut sides, mut peak) = ([Vec::new(), Vec::new()], 0);
    for _ in 0..TURNS {
        for ((paths, copies, name), sides) in cases.iter().zip(&mut sides) {
            let (outcome, most) = turn(stage, paths, *copies, name).await?;
            sides.push(outcome.side);
            found.account.add(outcome.account);
            peak = peak.max(most);
        }
    }
    let sides = sides.map(|turns| Side::of(&turns));
    for ((_, _, name), side) in cases.iter().zip(&sides) {
        found.figure(format!("{name}: deliveries"), Unit::PerSecond, side.per_second);
        found.time(format!("{name}: arrived, p50"), side.arrival.p50_us, None);
        found.time(format!("{name}: arrived, p99"), side.arrival.p99_us, None);
    }
    let [without, beside] = sides.map(|side| f64::from(side.arrival.p99_us));
    let ratio = quotient(beside, without);
    found.judged("p99 beside them over that without", Unit::Ratio, ratio, Goal::AtMost(P99));
    peak_memory(&mut found, peak);
    Ok(found)
}

/// With a service of its own: what it gave, and the most memory that it held.
async fn turn(
    stage: &mut Stage<'_>,
    paths: &[String],
    copies: u32,
    name: &'static str,
) -> anyhow::Result<(Outcome, u64)> {
    let destinations: Vec<_> = paths
        .iter()
        .map(|path| Destination { name: path.replace('/', "at-"), paths: vec![path.clone()] })
        .collect();
    let shape = (stage.args.in_flight, 0);
    let pipeline = service::pipeline(stage.address, &destinations, shape);
    let service = stage.service(&pipeline).await?;
    // As many deliveries a second as the other scenarios have at a steady rate.
    let rate = (stage.args.rate / DESTINATIONS).max(1);
    let outcome = stage.through(&service, &Part { rate, copies, ..stage.whole(name) }).await?;
    let peak = service.process().peak_memory_bytes()?;
    service.stop().await?;
    Ok((outcome, peak))
}
