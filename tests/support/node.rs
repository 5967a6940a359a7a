//! Nodes in this process, each with a runtime of its own, on one database. A node can be killed: its tasks end where
//! they are, and its connections close.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use postrider::domain::clock::{Clock, SystemClock};
use postrider::domain::database::DatabaseAddress;
use postrider::domain::ledger::Ledger;
use postrider::sender::ApiClient;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use super::app::{Builder, TestApp, pipeline};

/// A longer wait fails the test.
const PATIENCE: Duration = Duration::from_secs(90);
/// The polling interval for what has no signal.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Nodes on one database.
pub(crate) struct Cluster {
    dir: Arc<TempDir>,
    pub(crate) nodes: Vec<Node>,
}

/// A node.
pub(crate) struct Node {
    runtime: Option<Runtime>,
    app: Option<TestApp>,
    track: Track,
    pub(crate) id: i64,
}

/// A client of a node's tracking API.
#[derive(Clone)]
pub(crate) struct Track(Arc<ApiClient>);

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { dir: Arc::new(TempDir::new().unwrap()), nodes: Vec::new() }
    }

    /// Starts so many nodes on the database, one after another; returns the index of the first.
    pub(crate) async fn start(&mut self, url: &str, count: usize) -> usize {
        for _ in 0..count {
            self.start_with_clock(url, Arc::new(SystemClock::new())).await;
        }
        self.nodes.len() - count
    }

    /// Starts a node with this clock.
    pub(crate) async fn start_with_clock(&mut self, url: &str, clock: Arc<dyn Clock>) -> usize {
        let (dir, url) = (Arc::clone(&self.dir), url.to_owned());
        let started = tokio::task::spawn_blocking(move || {
            let mut runtime = RuntimeBuilder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
            let app = runtime.block_on(async {
                let builder = Builder::in_dir(dir).scheduled().clock_of_app(clock);
                let builder = builder.settings(move |settings| {
                    settings.database = DatabaseAddress::Server(url.into());
                });
                builder.start().await
            });
            (runtime, app)
        });
        let (runtime, app) = started.await.unwrap();
        let track = Track(Arc::new(ApiClient::new(&app.base(), None).unwrap()));
        let id = app.app.dispatcher.node_id().0;
        self.nodes.push(Node { runtime: Some(runtime), app: Some(app), track, id });
        self.nodes.len() - 1
    }

    /// Applies a pipeline of these destinations at the first node that runs.
    pub(crate) async fn apply(&self, destinations: &[(&str, &str, Value)]) {
        self.running().app().apply(pipeline(destinations)).await;
    }

    /// A node that runs.
    fn running(&self) -> &Node {
        self.nodes.iter().find(|node| node.is_running()).expect("a node")
    }

    /// Returns once every delivery is settled; checks the ledger and the tables then.
    pub(crate) async fn until_settled(&self) -> Ledger {
        let store = &self.running().app().app.store;
        let waiting = async {
            loop {
                if let Ok(ledger) = store.ledger().await
                    && ledger.pending == 0
                    && ledger.leased == 0
                {
                    return ledger;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, waiting).await;
        let Ok(ledger) = settled else { panic!("still {:?}", store.ledger().await) };
        let clock = SystemClock::new();
        for finding in store.check_consistency(clock.service_now()).await.unwrap() {
            assert!(finding.ok, "{finding:?}");
        }
        ledger
    }

    /// The index of the node with this key.
    pub(crate) fn with_id(&self, id: i64) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id && node.is_running())
    }
}

impl Node {
    /// Whether it was neither killed nor stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.app.is_some()
    }

    /// The app.
    pub(crate) fn app(&self) -> &TestApp {
        self.app.as_ref().expect("it runs")
    }

    /// Ends all of its tasks where they are.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.app = None;
    }

    /// Shuts it down.
    pub(crate) async fn stop(&mut self) {
        let (runtime, app) = (self.runtime.take().unwrap(), self.app.take().unwrap());
        runtime.spawn(app.stop()).await.unwrap();
        runtime.shutdown_background();
    }

    /// Sends an event that is to be accepted.
    pub(crate) async fn accept(&self, message_id: &str) {
        let answer = self.track.track(message_id).await.map(|(status, _)| status);
        assert_eq!(answer, Some(StatusCode::OK), "{message_id}");
    }

    /// A client of its tracking API.
    pub(crate) fn track(&self) -> Track {
        self.track.clone()
    }

    /// Returns once it says that it is ready, or that it is not.
    pub(crate) async fn until_ready(&self, ready: bool) {
        let wanted = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let waiting = async {
            while self.get("/readyz").await.map(|(status, _)| status) != Some(wanted) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "/readyz is not {wanted}");
    }

    /// The status of a path.
    pub(crate) async fn get(&self, path: &str) -> Option<(StatusCode, Value)> {
        self.track.0.get(path).await.ok()
    }
}

impl Track {
    /// Sends an event with this messageId; the answer's status and `Retry-After`, none without an answer.
    pub(crate) async fn track(&self, message_id: &str) -> Option<(StatusCode, Option<String>)> {
        let event = json!({"event": "Load", "userId": "u1", "messageId": message_id});
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_static("Basic dGhlLXdyaXRlLWtleTo=")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let body = Bytes::from(event.to_string());
        let answer = self.0.post_bytes("/v1/track", headers, body).await.ok()?;
        let retry_after = answer.headers.get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|it| it.to_str().ok()).map(str::to_owned);
        Some((answer.status, retry_after))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
