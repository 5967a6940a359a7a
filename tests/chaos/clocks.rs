//! Nodes whose clocks differ, and a service time that steps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider::domain::clock::{Clock, Moment, SystemClock, Timestamp};
use postrider::domain::service_time::ServiceTime;
use serde_json::json;

use super::limits::until_owned;
use crate::support::gauge::Gauge;
use crate::support::node::Cluster;
use crate::support::postgres::Database;

const HOUR_MICROS: i64 = 3_600_000_000;

/// A machine's clock whose wall time is wrong by so many microseconds.
struct WrongClock {
    clock: SystemClock,
    by: i64,
}

#[async_trait]
impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        self.clock.now().shifted(self.by)
    }

    fn service_now(&self) -> ServiceTime {
        self.clock.service_now()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    fn to_wall(&self, at: ServiceTime) -> Timestamp {
        self.clock.to_wall(at).shifted(self.by)
    }

    fn continue_from(&self, last: Moment) {
        self.clock.continue_from(Moment { wall: last.wall.shifted(-self.by), ..last });
    }

    fn take_step(&self) -> Option<i64> {
        self.clock.take_step()
    }

    async fn sleep_until(&self, at: ServiceTime) {
        self.clock.sleep_until(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_differ_by_hours_deliver_on_time_and_keep_limits() {
    let database = Database::migrated().await;
    let receiver = Gauge::start(Duration::from_millis(5)).await;
    let mut cluster = Cluster::new();
    cluster.start(&database.url(), 1).await;
    let settings = json!({"max_in_flight": 1, "timeout_ms": 1_000});
    cluster.apply(&[("one", &receiver.url(), settings)]).await;
    for by in [HOUR_MICROS, -HOUR_MICROS] {
        let clock = WrongClock { clock: SystemClock::new(), by };
        cluster.start_with_clock(&database.url(), Arc::new(clock)).await;
    }
    until_owned(&cluster, &database).await;
    // Each is tried again after about a second.
    receiver.set_status(500);
    for number in 0..9 {
        cluster.nodes[number % 3].accept(&format!("first-{number}")).await;
    }
    receiver.until(|arrived| arrived.len() == 9).await;
    receiver.set_status(200);
    cluster.until_settled().await;
    let owner = "SELECT node_id || ' ' || term FROM postrider.destination_owners";
    let before = database.text(owner).await;
    // As if the server's clock had been set ahead while no node wrote its heartbeat.
    let step = "UPDATE postrider.service_time SET service_at = service_at + 3600000000";
    database.execute(step).await.unwrap();
    for number in 0..9 {
        cluster.nodes[number % 3].accept(&format!("second-{number}")).await;
    }
    receiver.until(|arrived| arrived.len() == 18).await;
    let ledger = cluster.until_settled().await;
    assert_eq!((ledger.accepted, ledger.delivered), (18, 18));
    assert_eq!(database.text(owner).await, before, "a step of a clock changes no owner");
    assert_eq!(receiver.most_at_once(), 1);
    let unknown = "SELECT count(*)::text FROM postrider.attempts WHERE outcome = 'unknown' OR late";
    assert_eq!(database.text(unknown).await.as_deref(), Some("0"));
}
