//! Whether destinations suffer from a bad neighbour: fifty of them get every event, all of them well,
//! then with one that never answers and one that always fails.

use super::report::{Found, Goal, Unit};
use super::scenario::{Scenario, both, memory};
use super::service::{self, Destination};
use super::side::{Account, quotient};
use super::stage::{Outcome, Part, Stage};
use crate::receiver::{FAIL, HANG};

const DESTINATIONS: u32 = 50;
/// The 99th percentile beside bad neighbours over that without.
const P99: f64 = 1.3;

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let good: Vec<_> = (0..DESTINATIONS).map(|number| format!("/{number}")).collect();
    let mut mixed = good.clone();
    mixed.splice(..2, [HANG, FAIL].map(str::to_owned));
    let mut found = Found::of(Scenario::Neighbours, Account::default());
    let mut p99s = Vec::new();
    for (paths, copies, name) in [
        (good, DESTINATIONS, "every destination well"),
        (mixed, DESTINATIONS - 2, "one that hangs and one that fails"),
    ] {
        let Outcome { side, account } = part(stage, &mut found, (&paths, copies, name)).await?;
        found.figure(format!("{name}: deliveries"), Unit::PerSecond, side.per_second);
        found.time(format!("{name}: arrived, p50"), side.arrival.p50_us, None);
        found.time(format!("{name}: arrived, p99"), side.arrival.p99_us, None);
        p99s.push(f64::from(side.arrival.p99_us));
        found.account = both(found.account, account);
    }
    let ratio = quotient(p99s[1], p99s[0]);
    found.judged("p99 beside them over that without", Unit::Ratio, ratio, Goal::AtMost(P99));
    Ok(found)
}

async fn part(
    stage: &mut Stage<'_>,
    found: &mut Found,
    (paths, copies, name): (&[String], u32, &'static str),
) -> anyhow::Result<Outcome> {
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
    memory(found, &service)?;
    service.stop().await?;
    Ok(outcome)
}
