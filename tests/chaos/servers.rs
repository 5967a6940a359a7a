//! PostgreSQL's server crashes, or a standby takes its place, under load.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::support::gauge::Gauge;
use crate::support::load::Load;
use crate::support::node::Cluster;
use crate::support::postgres::execute;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::postgres_server::Server;

/// The pause of a sender between two events.
const PAUSE: Duration = Duration::from_millis(10);

/// Nodes on a database of the server, which may be behind a proxy, with a destination.
async fn nodes(server: &Server, proxy: Option<&PostgresProxy>, receiver: &Gauge) -> Cluster {
    execute(&server.url("postgres"), "CREATE DATABASE nodes").await.unwrap();
    let direct = server.url("nodes");
    let url = proxy.map_or_else(|| direct.clone(), |proxy| proxy.url(&direct));
    let mut cluster = Cluster::new();
    cluster.start(&url, 1).await;
    cluster.apply(&[("one", &receiver.url(), json!({}))]).await;
    cluster.start(&url, 1).await;
    cluster
}

fn load(cluster: &Cluster) -> Load {
    Load::start(cluster.nodes.iter().map(|node| node.track()).collect(), 4, PAUSE)
}

/// Each event that was acknowledged has arrived, and none twice.
fn check_arrivals(acknowledged: &HashSet<String>, arrivals: &HashMap<String, usize>) {
    for id in acknowledged {
        assert!(arrivals.contains_key(id), "{id} was acknowledged and never arrived");
    }
    let repeated: Vec<_> = arrivals.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgresql_under_load_loses_no_event_and_repeats_none() {
    let server = Server::new();
    let receiver = Gauge::start(Duration::from_millis(20)).await;
    let cluster = nodes(&server, None, &receiver).await;
    let load = load(&cluster);
    load.until_acknowledged(100).await;
    server.crash();
    load.until_refused(8).await;
    for node in &cluster.nodes {
        assert_eq!(node.get("/healthz").await.unwrap().0, StatusCode::OK);
        node.until_ready(false).await;
    }
    server.start();
    for node in &cluster.nodes {
        node.until_ready(true).await;
    }
    load.until_acknowledged(load.acknowledged() + 100).await;
    let (acknowledged, refusals) = load.stop().await;
    for refusal in refusals {
        assert_eq!(refusal, (StatusCode::SERVICE_UNAVAILABLE, Some("1".to_owned())));
    }
    let ledger = cluster.until_settled().await;
    assert_eq!(ledger.accepted, ledger.delivered);
    check_arrivals(&acknowledged, &receiver.arrivals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_synchronous_standby_loses_no_event() {
    let primary = Server::new();
    let proxy = PostgresProxy::to(primary.port()).await;
    let receiver = Gauge::start(Duration::from_millis(5)).await;
    let cluster = nodes(&primary, Some(&proxy), &receiver).await;
    let standby = primary.standby();
    primary.commit_on_standbys().await;
    let load = load(&cluster);
    load.until_acknowledged(100).await;
    primary.crash();
    standby.promote();
    proxy.lead_to(standby.port());
    load.until_acknowledged(load.acknowledged() + 100).await;
    let (acknowledged, _) = load.stop().await;
    let ledger = cluster.until_settled().await;
    assert_eq!(ledger.accepted, ledger.delivered);
    check_arrivals(&acknowledged, &receiver.arrivals());
}
