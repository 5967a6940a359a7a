//! The scenarios of a bench: what each sends, and the goals that its figures are held against.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::report::{Found, Goal, Unit};
use super::service::{self, Service};
use super::side::{Account, Side, quotient, to_f64};
use super::stage::{Outcome, Part, Stage};
use super::{backlog, history, neighbours, soak};

/// Peak memory of the service, whatever is sent to it, in megabytes.
const PEAK_MB: f64 = 200.0;
/// Memory of a service that has nothing to do, in megabytes, and has had nothing for so long.
const IDLE_MB: f64 = 25.0;
const IDLE: Duration = Duration::from_secs(8);
/// What an event takes on disk once it is settled, over the bytes of its message.
const DISK: f64 = 1.5;
/// Events that share a request where they do.
pub(super) const BATCH: u32 = 100;
/// Deliveries that share a request where they do.
pub(super) const BATCHING: u32 = 1_000;
/// Turns at a steady rate; of latencies, the one in the middle counts.
const STEADY_TURNS: usize = 3;
/// An answer at a steady rate, half and 99 of 100, in milliseconds.
pub(super) const ACKNOWLEDGED_P99_MS: f64 = 4.0;
const ARRIVED_P50_MS: f64 = 1.5;
const ARRIVED_P99_MS: f64 = 6.0;

/// What a bench measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// One event a request, one mapping, signed both ways
    Single,
    /// Events in requests of 100
    Batch,
    /// The same, delivered in requests of up to 1,000
    Batched,
    /// One event to ten mappings
    FanOut,
    /// An open loop at a steady rate: latency
    Steady,
    /// A file with millions of settled deliveries against an empty one, and its start
    History,
    /// An endpoint that comes back while a backlog is due and intake goes on
    Backlog,
    /// Destinations beside one that hangs and one that fails
    Neighbours,
    /// Minutes of load: memory, log and latency stay as they are
    Soak,
}

impl fmt::Display for Scenario {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| out.write_str(value.get_name()))
    }
}

impl Scenario {
    /// Measures it.
    pub(super) async fn play(self, stage: &mut Stage<'_>) -> anyhow::Result<Found> {
        match self {
            Self::Single => single(stage).await,
            Self::Batch => BATCHES.play(stage, self).await,
            Self::Batched => {
                Shape { batching: BATCHING, goals: (1.4, 1.1), ..BATCHES }.play(stage, self).await
            }
            Self::FanOut => FAN_OUT.play(stage, self).await,
            Self::Steady => steady(stage).await,
            Self::History => Box::pin(history::play(stage)).await,
            Self::Backlog => Box::pin(backlog::play(stage)).await,
            Self::Neighbours => neighbours::play(stage).await,
            Self::Soak => soak::play(stage).await,
        }
    }
}

/// A service with one destination.
pub(super) async fn one_destination(
    stage: &Stage<'_>,
    batching: u32,
    mappings: u32,
) -> anyhow::Result<Service> {
    let shape = (stage.args.in_flight, batching);
    let destinations = [service::destination(mappings)];
    stage.service(&service::pipeline(stage.address, &destinations, shape)).await
}

async fn single(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let service = one_destination(stage, 0, 1).await?;
    tokio::time::sleep(IDLE).await;
    let idle = service.process().memory_bytes()?;
    let part = stage.whole("single events");
    let (side, baseline, account) = stage.turns(&service, &part).await?;
    let mut found = Found::of(Scenario::Single, account);
    found.compare(&side, &baseline, (0.36, 2.6));
    found.latencies(&side);
    let goal = Goal::AtMost(IDLE_MB);
    found.judged("memory, idle", Unit::Megabytes, to_f64(idle) / 1e6, goal);
    memory(&mut found, &service)?;
    let payload = to_f64(found.account.acknowledged) * to_f64(u64::from(stage.args.bytes));
    let running = to_f64(service.disk_bytes()?);
    found.figure("disk over payload, log included", Unit::Ratio, quotient(running, payload));
    let settled = to_f64(service.stop().await?);
    let ratio = quotient(settled, payload);
    found.judged("disk over payload, settled", Unit::Ratio, ratio, Goal::AtMost(DISK));
    Ok(found)
}

/// How events come in and go out where only the rate and what it costs are looked at.
struct Shape {
    name: &'static str,
    /// Events that share a request to the service; 0: one each.
    batch: u32,
    /// Deliveries that share a request to the receiver; 0: one each.
    batching: u32,
    /// Mappings that each event goes to.
    mappings: u32,
    /// For the rate and the CPU of a delivery, over the bare loop's.
    goals: (f64, f64),
}

const BATCHES: Shape =
    Shape { name: "batches of events", batch: BATCH, batching: 0, mappings: 1, goals: (0.58, 2.0) };
const FAN_OUT: Shape =
    Shape { name: "fan-out", batch: 0, batching: 0, mappings: 10, goals: (0.65, 1.6) };

impl Shape {
    async fn play(self, stage: &mut Stage<'_>, scenario: Scenario) -> anyhow::Result<Found> {
        let Self { name, batch, batching, mappings, goals } = self;
        let service = one_destination(stage, batching, mappings).await?;
        let part = Part { batch, copies: mappings, ..stage.whole(name) };
        let (side, baseline, account) = stage.turns(&service, &part).await?;
        let mut found = Found::of(scenario, account);
        found.compare(&side, &baseline, goals);
        found.latencies(&side);
        memory(&mut found, &service)?;
        service.stop().await?;
        Ok(found)
    }
}

async fn steady(stage: &mut Stage<'_>) -> anyhow::Result<Found> {
    let service = one_destination(stage, 0, 1).await?;
    let rate = stage.args.rate;
    let part = Part { rate, ..stage.whole("at a steady rate") };
    let mut found = Found::of(Scenario::Steady, Account::default());
    let mut sides = Vec::new();
    for _ in 0..STEADY_TURNS {
        let Outcome { side, account } = stage.through(&service, &part).await?;
        found.account.add(account);
        sides.push(side);
    }
    let side = Side::of(&sides);
    found.figure("rate", Unit::PerSecond, side.per_second);
    steady_latencies(&mut found, &side);
    found.figure("CPU a delivery", Unit::Microseconds, side.cpu_us_each);
    memory(&mut found, &service)?;
    service.stop().await?;
    Ok(found)
}

/// How long answers and arrivals took at a steady rate, with their goals.
pub(super) fn steady_latencies(found: &mut Found, side: &Side) {
    let Side { acknowledged, arrival, .. } = side;
    found.time("acknowledged, p50", acknowledged.p50_us, None);
    found.time("acknowledged, p99", acknowledged.p99_us, Some(ACKNOWLEDGED_P99_MS));
    found.time("arrived, p50", arrival.p50_us, Some(ARRIVED_P50_MS));
    found.time("arrived, p99", arrival.p99_us, Some(ARRIVED_P99_MS));
}

/// The most memory that the service has held.
pub(super) fn memory(found: &mut Found, service: &Service) -> anyhow::Result<()> {
    peak_memory(found, service.process().peak_memory_bytes()?);
    Ok(())
}

/// The most memory that any service of a scenario has held, against the goal.
pub(super) fn peak_memory(found: &mut Found, bytes: u64) {
    let goal = Goal::AtMost(PEAK_MB);
    found.judged("memory, peak", Unit::Megabytes, to_f64(bytes) / 1e6, goal);
}

/// What two parts gave together.
pub(super) fn both(one: Account, other: Account) -> Account {
    let mut both = one;
    both.add(other);
    both
}
