//! What one node has found out of a receiver, the others follow: an open circuit, and a wait that it asked for.

use std::time::Duration;

use serde_json::json;

use crate::support::gauge::Gauge;
use crate::support::node::{Cluster, Node};
use crate::support::postgres::Database;

/// A longer wait fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two nodes with a destination.
async fn nodes(database: &Database, receiver: &Gauge) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.start(&database.url(), 1).await;
    cluster.apply(&[("one", &receiver.url(), json!({}))]).await;
    cluster.start(&database.url(), 1).await;
    cluster
}

/// Returns once it is so on each node.
async fn until_on_each(cluster: &Cluster, is_so: impl Fn(&Node) -> bool) {
    let waiting = async {
        while !cluster.nodes.iter().all(&is_so) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("a node does not follow");
}

fn open_circuits(node: &Node) -> usize {
    node.app().app.dispatcher.open_circuits().len()
}

fn waits(node: &Node) -> usize {
    node.app().app.dispatcher.receiver_waits().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_circuit_is_followed_by_every_node_and_probed_by_one_at_a_time() {
    let database = Database::migrated().await;
    let receiver = Gauge::start(Duration::from_millis(100)).await;
    receiver.set_status(500);
    let cluster = nodes(&database, &receiver).await;
    // As the node does whose tenth request has failed.
    let open = "INSERT INTO postrider.circuits (mapping_id, opened_at, probe_at, interval_us)
        SELECT m.id, t.service_at, t.service_at, 1000000
        FROM postrider.mappings AS m, postrider.service_time AS t";
    database.execute(open).await.unwrap();
    until_on_each(&cluster, |node| open_circuits(node) == 1).await;
    for number in 0..5 {
        for (index, node) in cluster.nodes.iter().enumerate() {
            node.accept(&format!("m-{index}-{number}")).await;
        }
    }
    receiver.until(|arrived| arrived.values().sum::<usize>() == 2).await;
    assert_eq!(receiver.most_at_once(), 1, "one probe at a time");
    receiver.set_status(200);
    receiver.until(|arrived| arrived.len() == 10).await;
    until_on_each(&cluster, |node| open_circuits(node) == 0).await;
    let ledger = cluster.until_settled().await;
    assert_eq!((ledger.accepted, ledger.delivered), (10, 10));
    let left = "SELECT count(*)::text FROM postrider.circuits";
    assert_eq!(database.text(left).await.as_deref(), Some("0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_a_receiver_asked_for_is_followed_by_every_node_and_so_is_its_end() {
    let database = Database::migrated().await;
    let receiver = Gauge::start(Duration::ZERO).await;
    let cluster = nodes(&database, &receiver).await;
    let wait = "INSERT INTO postrider.receiver_waits (mapping_id, until_at)
        SELECT m.id, t.service_at + 600000000 FROM postrider.mappings AS m, postrider.service_time AS t";
    database.execute(wait).await.unwrap();
    until_on_each(&cluster, |node| waits(node) == 1).await;
    for node in &cluster.nodes {
        node.accept(&format!("m-{}", node.id)).await;
    }
    let pending = "SELECT count(*)::text FROM postrider.pending";
    assert_eq!(database.text(pending).await.as_deref(), Some("2"), "none is leased");
    assert!(receiver.arrivals().is_empty());
    database.execute("DELETE FROM postrider.receiver_waits").await.unwrap();
    receiver.until(|arrived| arrived.len() == 2).await;
    until_on_each(&cluster, |node| waits(node) == 0).await;
}
