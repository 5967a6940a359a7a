//! Scenario `readers`: clients that list deliveries without a pause while events are sent. The WAL stays within its
//! bound, and events do not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::harness::Harness;
use super::measurement::{Account, quotient, to_f64};
use super::report::{Goal, ScenarioReport, Unit};
use super::scenario::Scenario;

/// The largest WAL, in megabytes.
const WAL_MB: f64 = 300.0;
const ACKNOWLEDGED_P99_MS: f64 = 10.0;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const LISTS: [&str; 3] =
    ["/api/v1/deliveries?limit=100", "/api/v1/events?limit=100", "/api/v1/attempts?limit=100"];

pub(super) async fn run(harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    let service = harness.one_destination(0, 1).await?;
    let (stopping, clients) = (CancellationToken::new(), TaskTracker::new());
    let answers = Arc::new(AtomicU64::new(0));
    for number in 0..harness.args.clients {
        let client = service.client()?;
        let (stopping, answers) = (stopping.clone(), Arc::clone(&answers));
        let list = LISTS[usize::try_from(number)? % LISTS.len()];
        clients.spawn(async move {
            while !stopping.is_cancelled() {
                if client.get(list).await.is_ok() {
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    harness.take().await?;
    let part = super::harness::Part { rate: harness.args.rate, ..harness.whole("readers") };
    let sending = harness.begin(Some(&service), &part)?.end();
    tokio::pin!(sending);
    let mut most = 0;
    let load = loop {
        tokio::select! {
            load = &mut sending => break load?,
            () = tokio::time::sleep(POLL_INTERVAL) => most = most.max(service.log_bytes()?),
        }
    };
    stopping.cancel();
    clients.close();
    clients.wait().await;
    harness.arrived(load.acknowledged).await?;
    let reading = harness.take().await?;
    let mut found = ScenarioReport::of(Scenario::Readers, Account::new(&load, &reading, 1));
    found.figure("clients", Unit::Count, f64::from(harness.args.clients));
    let seconds = to_f64(part.millis) / 1e3;
    let lists = quotient(to_f64(answers.load(Ordering::Relaxed)), seconds);
    found.figure("lists answered", Unit::PerSecond, lists);
    found.with_goal("WAL, largest", Unit::Megabytes, to_f64(most) / 1e6, Goal::AtMost(WAL_MB));
    found.time("acknowledgement latency, p50", load.p50_us, None);
    found.time("acknowledgement latency, p99", load.p99_us, Some(ACKNOWLEDGED_P99_MS));
    service.stop().await?;
    Ok(found)
}
