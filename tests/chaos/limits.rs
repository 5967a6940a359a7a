//! Limits of destinations hold over all nodes, while their owner changes.

use std::time::Duration;

use serde_json::json;

use crate::support::gauge::Gauge;
use crate::support::node::Cluster;
use crate::support::postgres::{self, Database};
use crate::support::postgres_proxy::PostgresProxy;

/// A longer wait fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node that owns the only destination with limits.
pub(super) async fn owner(database: &Database) -> Option<i64> {
    let sql =
        "SELECT coalesce((SELECT node_id FROM postrider.destination_owners LIMIT 1), 0)::text";
    database.text(sql).await?.parse().ok().filter(|id| *id != 0)
}

/// The index of the node that owns it, once one of those that run does.
pub(super) async fn until_owned(cluster: &Cluster, database: &Database) -> usize {
    let waiting = async {
        loop {
            if let Some(id) = owner(database).await
                && let Some(index) = cluster.with_id(id)
            {
                return index;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("no node owns the destination")
}

/// Sends this many events, to each running node in turn; returns their ids.
async fn send(cluster: &Cluster, name: &str, count: usize) -> Vec<String> {
    let running: Vec<_> = cluster.nodes.iter().filter(|node| node.is_running()).collect();
    let mut ids = Vec::new();
    for number in 0..count {
        let id = format!("{name}-{number}");
        running[number % running.len()].accept(&id).await;
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_over_eight_nodes_while_the_owner_changes() {
    const RATE: u32 = 20;
    let database = Database::migrated().await;
    let one = Gauge::start(Duration::from_millis(10)).await;
    let rate = Gauge::start(Duration::ZERO).await;
    let mut cluster = Cluster::new();
    cluster.start(&database.url(), 1).await;
    let destinations = [
        ("one", one.url(), json!({"max_in_flight": 1, "timeout_ms": 1_000})),
        ("rate", rate.url(), json!({"rate_per_second": RATE, "timeout_ms": 1_000})),
    ];
    let given: Vec<_> =
        destinations.iter().map(|(name, url, more)| (*name, url.as_str(), more.clone())).collect();
    cluster.apply(&given).await;
    cluster.start(&database.url(), 7).await;
    let mut sent = send(&cluster, "first", 40).await;
    one.until(|arrived| arrived.len() >= 10).await;
    // In order: it releases what it has, and another takes over at once.
    let index = until_owned(&cluster, &database).await;
    cluster.nodes[index].stop().await;
    sent.extend(send(&cluster, "second", 40).await);
    one.until(|arrived| arrived.len() >= 80).await;
    rate.until(|arrived| arrived.len() >= 60).await;
    // Killed: another takes over once its lease and its last request have ended.
    let index = until_owned(&cluster, &database).await;
    cluster.nodes[index].kill();
    let later = send(&cluster, "third", 20).await;
    let has_all = |arrived: &std::collections::HashMap<String, usize>, ids: &[String]| {
        ids.iter().all(|id| arrived.contains_key(id))
    };
    one.until(|arrived| has_all(arrived, &later) && has_all(arrived, &sent)).await;
    rate.until(|arrived| has_all(arrived, &later) && has_all(arrived, &sent)).await;
    assert_eq!(one.most_at_once(), 1);
    let begun = rate.begun();
    for (first, at) in begun.iter().enumerate() {
        for (last, until) in begun.iter().enumerate().skip(first) {
            let most = (until.duration_since(*at).as_secs_f64() + 1.0) * f64::from(RATE) + 1.0;
            let count = last - first + 1;
            assert!(
                f64::from(u32::try_from(count).unwrap()) <= most,
                "{count} in {:?}",
                *until - *at
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_lost_the_database_stops_before_another_begins() {
    let database = Database::migrated().await;
    let proxy = PostgresProxy::to(postgres::port()).await;
    // Almost as long as a request may take.
    let receiver = Gauge::start(Duration::from_millis(900)).await;
    let mut cluster = Cluster::new();
    cluster.start(&proxy.url(&database.url()), 1).await;
    let settings = json!({"max_in_flight": 1, "timeout_ms": 1_000});
    cluster.apply(&[("one", &receiver.url(), settings)]).await;
    assert_eq!(until_owned(&cluster, &database).await, 0);
    for number in 0..20 {
        cluster.nodes[0].accept(&format!("first-{number}")).await;
    }
    cluster.start(&database.url(), 1).await;
    receiver.until(|arrived| !arrived.is_empty()).await;
    let before = receiver.arrivals().len();
    // It goes on with what it has leased.
    proxy.lose_packets();
    for number in 0..3 {
        cluster.nodes[1].accept(&format!("second-{number}")).await;
    }
    let of_other = |arrived: &std::collections::HashMap<String, usize>| {
        arrived.keys().filter(|id| id.starts_with("second")).count()
    };
    receiver.until(|arrived| of_other(arrived) == 3).await;
    assert!(receiver.arrivals().len() > before + 3, "the first node sent nothing meanwhile");
    assert_eq!(receiver.most_at_once(), 1);
}
