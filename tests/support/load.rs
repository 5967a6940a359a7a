//! An independent sender with a ledger: it sends events to nodes, each again until it is acknowledged, and remembers
//! which were.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::node::Track;

/// How long it waits after a refusal, as an SDK does.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The ids that were acknowledged, and the refusals as they came: status and `Retry-After`.
pub(crate) type Acknowledged = (HashSet<String>, Vec<(StatusCode, Option<String>)>);

/// The sender.
pub(crate) struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    name: String,
    next: AtomicUsize,
    stops: AtomicBool,
    acknowledged: Mutex<HashSet<String>>,
    count: watch::Sender<usize>,
    /// Refusals as they came: status and `Retry-After`.
    refusals: Mutex<Vec<(StatusCode, Option<String>)>>,
    refused: watch::Sender<usize>,
}

impl Load {
    /// Starts so many senders, each of which goes to the nodes in turn and waits `pause` between events.
    pub(crate) fn start(nodes: Vec<Track>, senders: usize, pause: Duration) -> Self {
        Self::named("load", nodes, senders, pause)
    }

    /// The same, with a name of its own for its messages.
    pub(crate) fn named(name: &str, nodes: Vec<Track>, senders: usize, pause: Duration) -> Self {
        let shared = Arc::new(Shared { name: name.to_owned(), ..Shared::default() });
        let nodes = Arc::new(nodes);
        let senders = (0..senders).map(|number| {
            let (shared, nodes) = (Arc::clone(&shared), Arc::clone(&nodes));
            tokio::spawn(async move { send(&shared, &nodes, number, pause).await })
        });
        let senders = senders.collect();
        Self { shared, senders }
    }

    /// Returns once so many events are acknowledged.
    pub(crate) async fn until_acknowledged(&self, count: usize) {
        self.shared.count.subscribe().wait_for(|it| *it >= count).await.unwrap();
    }

    /// Returns once so many requests were refused.
    pub(crate) async fn until_refused(&self, count: usize) {
        self.shared.refused.subscribe().wait_for(|it| *it >= count).await.unwrap();
    }

    /// How many events are acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Ends it once each event under way is acknowledged; returns the ids and the refusals.
    pub(crate) async fn stop(self) -> Acknowledged {
        self.shared.stops.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.await.unwrap();
        }
        let acknowledged = self.shared.acknowledged.lock().unwrap().clone();
        let refusals = self.shared.refusals.lock().unwrap().clone();
        (acknowledged, refusals)
    }
}

async fn send(shared: &Shared, nodes: &[Track], number: usize, pause: Duration) {
    let mut turn = number;
    while !shared.stops.load(Ordering::SeqCst) {
        let id = format!("{}-{}", shared.name, shared.next.fetch_add(1, Ordering::SeqCst));
        loop {
            turn += 1;
            match nodes[turn % nodes.len()].track(&id).await {
                Some((StatusCode::OK, _)) => break,
                Some(refusal) => {
                    shared.refusals.lock().unwrap().push(refusal);
                    shared.refused.send_modify(|count| *count += 1);
                }
                None => {}
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        shared.acknowledged.lock().unwrap().insert(id);
        shared.count.send_modify(|count| *count += 1);
        tokio::time::sleep(pause).await;
    }
}
