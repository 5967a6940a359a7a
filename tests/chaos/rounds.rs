//! Failures in a random order under load. `make chaos` runs many rounds, of every kind; SEED=n repeats a run.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::support::gauge::Gauge;
use crate::support::load::{Acknowledged, Load};
use crate::support::node::Cluster;
use crate::support::postgres::{execute, text};
use crate::support::postgres_proxy::{Cut, PostgresProxy};
use crate::support::postgres_server::Server;

/// Rounds of the fast form, which has the kinds that need no lease to expire.
const ROUNDS: usize = 3;
const NODES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Failure {
    ANodeStops,
    TheServerCrashes,
    ACommitIsCut,
    ANodeIsKilled,
    PacketsAreLost,
}

struct Chaos {
    server: Server,
    proxy: PostgresProxy,
    cluster: Cluster,
    rng: StdRng,
}

impl Chaos {
    async fn new(seed: u64) -> Self {
        let server = Server::new();
        execute(&server.url("postgres"), "CREATE DATABASE nodes").await.unwrap();
        let proxy = PostgresProxy::to(server.port()).await;
        Self { server, proxy, cluster: Cluster::new(), rng: StdRng::seed_from_u64(seed) }
    }

    async fn start(&mut self, count: usize) {
        let url = self.proxy.url(&self.server.url("nodes"));
        self.cluster.start(&url, count).await;
    }

    /// A load on the nodes that run, whose messages have the round in their names.
    fn load_named(&self, round: usize) -> Load {
        let running = self.cluster.nodes.iter().filter(|node| node.is_running());
        let nodes = running.map(|node| node.track()).collect();
        Load::named(&format!("load-{round}"), nodes, 4, Duration::from_millis(20))
    }

    /// Fails while the load goes on, which then goes on for a while.
    async fn fail_under(&mut self, load: Load, failure: Failure) -> Acknowledged {
        self.fail(failure).await;
        load.until_acknowledged(load.acknowledged() + 20).await;
        load.stop().await
    }

    async fn fail(&mut self, failure: Failure) {
        let running: Vec<usize> = (0..self.cluster.nodes.len())
            .filter(|it| self.cluster.nodes[*it].is_running())
            .collect();
        let index = running[self.rng.random_range(0..running.len())];
        match failure {
            Failure::ANodeStops => self.cluster.nodes[index].stop().await,
            Failure::ANodeIsKilled => self.cluster.nodes[index].kill(),
            Failure::TheServerCrashes => {
                self.server.crash();
                self.server.start();
            }
            Failure::ACommitIsCut => {
                let cut = if self.rng.random() { Cut::Answer } else { Cut::Request };
                let text = if self.rng.random() { "load-" } else { "127.0.0.1" };
                self.proxy.cut_next(text, cut);
            }
            Failure::PacketsAreLost => self.proxy.lose_packets(),
        }
    }
}

/// Writes a line that is shown when the test fails, or with `make chaos`.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Each message that arrived more than once has an attempt for each arrival, all but one of which were lost.
async fn check_repeated(url: &str, receiver: &Gauge, seed: u64) {
    let repeated: HashMap<String, usize> =
        receiver.arrivals().into_iter().filter(|(_, count)| *count > 1).collect();
    for (id, arrivals) in repeated {
        let sql = format!(
            "SELECT count(*) || ' ' || count(*) FILTER (WHERE a.outcome = 'unknown' OR a.late)
             FROM postrider.attempts AS a JOIN postrider.settled AS s ON s.id = a.delivery_id
             JOIN postrider.events AS e ON e.id = s.event_id
             WHERE e.message_id = '{id}' AND (a.url IS NULL OR a.url = '{}' OR a.url = '')",
            receiver.url()
        );
        let counts = text(url, &sql).await.unwrap();
        let (attempts, lost) = counts.split_once(' ').unwrap();
        let (attempts, lost): (usize, usize) = (attempts.parse().unwrap(), lost.parse().unwrap());
        assert!(
            arrivals <= attempts && attempts - lost <= 1,
            "{id}: {arrivals} arrivals, {attempts} attempts, {lost} lost (SEED={seed})"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_in_any_order_lose_no_event_and_keep_limits() {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let rounds = number("CHAOS_ROUNDS");
    let seed = number("SEED").unwrap_or_else(|| match rounds {
        Some(_) => getrandom::u64().unwrap(),
        None => 20_261_127,
    });
    report(&format!("SEED={seed}"));
    let kinds: &[Failure] = match rounds {
        Some(_) => &[
            Failure::ANodeStops,
            Failure::TheServerCrashes,
            Failure::ACommitIsCut,
            Failure::ANodeIsKilled,
            Failure::PacketsAreLost,
        ],
        None => &[Failure::ANodeStops, Failure::TheServerCrashes, Failure::ACommitIsCut],
    };
    let rounds = rounds.map_or(ROUNDS, |it| usize::try_from(it).unwrap());
    let one = Gauge::start(Duration::from_millis(5)).await;
    let any = Gauge::start(Duration::from_millis(5)).await;
    let mut chaos = Chaos::new(seed).await;
    chaos.start(1).await;
    let limited = json!({"max_in_flight": 1, "timeout_ms": 1_000});
    let destinations = [("one", one.url(), limited), ("any", any.url(), json!({}))];
    let given =
        destinations.each_ref().map(|(name, url, more)| (*name, url.as_str(), more.clone()));
    chaos.cluster.apply(&given).await;
    chaos.start(NODES - 1).await;
    let mut acknowledged = std::collections::HashSet::new();
    for round in 0..rounds {
        let load = chaos.load_named(round);
        load.until_acknowledged(20).await;
        // The fast form has each kind once.
        let kind = if rounds == ROUNDS { round } else { chaos.rng.random_range(0..kinds.len()) };
        let failure = kinds[kind % kinds.len()];
        report(&format!("round {round}: {failure:?}"));
        let (ids, _) = chaos.fail_under(load, failure).await;
        acknowledged.extend(ids);
        let running = chaos.cluster.nodes.iter().filter(|node| node.is_running()).count();
        chaos.start(NODES - running).await;
    }
    let ledger = chaos.cluster.until_settled().await;
    assert_eq!(ledger.accepted, ledger.delivered, "SEED={seed}");
    for receiver in [&one, &any] {
        let arrivals = receiver.arrivals();
        for id in &acknowledged {
            assert!(
                arrivals.contains_key(id),
                "{id} was acknowledged and never arrived (SEED={seed})"
            );
        }
        check_repeated(&chaos.server.url("nodes"), receiver, seed).await;
    }
    assert_eq!(one.most_at_once(), 1, "SEED={seed}");
}
