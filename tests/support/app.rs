//! The app under test, in process: real store, real sockets, manual clock.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use postrider::domain::attempt::Attempt;
use postrider::domain::clock::{Clock, ManualClock, Timestamp};
use postrider::domain::database::DatabaseAddress;
use postrider::domain::delivery::State;
use postrider::domain::id::DeliveryId;
use postrider::domain::ledger::Ledger;
use postrider::functions::PoolOptions;
use postrider::sender::{ApiClient, Resolve};
use postrider::server::{App, AppError, AppParts};
use postrider::settings::Settings;
use postrider::store::{DeliveryQuery, DeliveryRow};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::faulty_outbox::Faults;
use super::receiver::{Behaviour, Receiver};
use super::statistics::assert_add_up;

/// Timeout of a wait; exceeding it fails the test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// The write key of every test's source.
pub(crate) const WRITE_KEY: &str = "the-write-key";
/// The shared secret of every test's destinations.
pub(crate) const SECRET: &str = "the-shared-secret";

/// A service under test.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) client: ApiClient,
    pub(crate) dir: Arc<TempDir>,
}

/// Builds a service under test.
pub(crate) struct Builder {
    dir: Arc<TempDir>,
    clock: Arc<ManualClock>,
    change: Box<dyn FnOnce(&mut Settings)>,
    functions: PoolOptions,
    deliver_on: Option<Handle>,
    resolver: Option<Arc<dyn Resolve>>,
    faults: Option<Arc<Faults>>,
    clock_of_app: Option<Arc<dyn Clock>>,
    scheduled: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            dir: Arc::new(TempDir::new().unwrap()),
            clock: Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000))),
            change: Box::new(|_| {}),
            functions: functions(),
            // On the test's runtime, so that nothing runs while the test does not await.
            deliver_on: Some(Handle::current()),
            resolver: None,
            faults: None,
            clock_of_app: None,
            scheduled: false,
        }
    }

    /// Restarts on the files of an earlier service, with its clock.
    pub(crate) fn after(dir: Arc<TempDir>, clock: Arc<ManualClock>) -> Self {
        Self { dir, clock, ..Self::new() }
    }

    /// A service in this folder.
    pub(crate) fn in_dir(dir: Arc<TempDir>) -> Self {
        Self { dir, ..Self::new() }
    }

    /// Runs the duties by their schedule, as the real service does.
    pub(crate) fn scheduled(self) -> Self {
        Self { scheduled: true, ..self }
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// The options of the function pool.
    pub(crate) fn functions(mut self, change: impl FnOnce(&mut PoolOptions)) -> Self {
        change(&mut self.functions);
        self
    }

    /// Resolves host names with this resolver.
    pub(crate) fn resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    /// Runs deliveries on threads of their own, as the real service does.
    pub(crate) fn threads(self) -> Self {
        Self { deliver_on: None, ..self }
    }

    /// The app reads this clock in place of the test's.
    pub(crate) fn clock_of_app(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock_of_app: Some(clock), ..self }
    }

    /// The clock of the test.
    pub(crate) fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    /// Deliveries use an outbox with these faults.
    pub(crate) fn outbox(self, faults: &Arc<Faults>) -> Self {
        Self { faults: Some(Arc::clone(faults)), ..self }
    }

    pub(crate) async fn start(self) -> TestApp {
        self.try_start().await.unwrap()
    }

    /// The error when it does not start.
    pub(crate) async fn try_start(self) -> Result<TestApp, AppError> {
        let file = |name: &str| self.dir.path().join(name);
        let mut settings = Settings {
            listen: "127.0.0.1:0".to_owned(),
            database: DatabaseAddress::File(file("postrider.db")),
            token_file: file("postrider.token"),
            secret_key_file: file("postrider.key"),
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            min_free_disk_mib: 0,
            ..Settings::default()
        };
        (self.change)(&mut settings);
        let token_file = settings.token_file.clone();
        let parts = AppParts {
            settings,
            origins: std::collections::BTreeMap::new(),
            clock: self.clock_of_app.unwrap_or_else(|| Arc::clone(&self.clock) as _),
            seed: 7,
            resolver: self.resolver,
            extra_roots: Vec::new(),
            functions: self.functions,
            scheduled: self.scheduled,
            wrap_outbox: self.faults.map(|faults| {
                Box::new(|outbox| faults.wrap(outbox)) as postrider::server::WrapOutbox
            }),
            deliver_on: self.deliver_on,
        };
        let app = App::start(parts).await?;
        let token = std::fs::read_to_string(token_file).unwrap();
        let token = SecretString::from(token.trim().to_owned());
        let client = ApiClient::new(&format!("http://{}", app.address), Some(token)).unwrap();
        Ok(TestApp { app, clock: self.clock, client, dir: self.dir })
    }
}

/// The default function pool, with the real program as worker.
pub(crate) fn functions() -> PoolOptions {
    PoolOptions { executable: env!("CARGO_BIN_EXE_postrider").into(), ..PoolOptions::default() }
}

/// A pipeline of one source whose destinations have one mapping each: name, URL, more settings.
pub(crate) fn pipeline(destinations: &[(&str, &str, Value)]) -> Value {
    let destinations: Vec<_> = destinations
        .iter()
        .map(|(name, url, more)| {
            let mut destination = json!({
                "name": name,
                "shared_secret": {"value": SECRET},
                "mappings": [{"name": "everything", "url": url}],
            });
            for (key, value) in more.as_object().into_iter().flatten() {
                destination[key] = value.clone();
            }
            destination
        })
        .collect();
    json!({"sources": [{
        "name": "website",
        "write_key": {"value": WRITE_KEY},
        "destinations": destinations,
    }]})
}

/// Runs SQL on the service's database from outside.
pub(crate) async fn execute(dir: &std::path::Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("postrider.db"));
    let mut conn = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

impl TestApp {
    /// A service with this pipeline.
    pub(crate) async fn with(destinations: &[(&str, &str, Value)]) -> Self {
        let app = Builder::new().start().await;
        app.apply(pipeline(destinations)).await;
        app
    }

    pub(crate) async fn apply(&self, document: Value) {
        let request = json!({"document": document});
        let (status, answer) = self.client.post("/api/v1/pipeline", &request).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// The base URL.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.app.address)
    }

    /// The token created at the first start.
    pub(crate) fn token(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("postrider.token")).unwrap();
        text.trim().to_owned()
    }

    /// Sends to intake with the write key; returns the response's status.
    pub(crate) async fn send(&self, path: &str, body: &Value) -> StatusCode {
        self.send_with(WRITE_KEY, path, body).await
    }

    /// Sends to intake with this write key; returns the response's status.
    pub(crate) async fn send_with(&self, key: &str, path: &str, body: &Value) -> StatusCode {
        let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, basic.parse().unwrap())]);
        let body = Bytes::from(body.to_string());
        self.client.post_bytes(path, headers, body).await.unwrap().status
    }

    /// Tracks an event of this name; its messageId is the name.
    pub(crate) async fn track(&self, name: &str) {
        let event = json!({"event": name, "userId": "u1", "messageId": name});
        assert_eq!(self.send("/v1/track", &event).await, StatusCode::OK);
    }

    pub(crate) async fn deliveries(&self) -> Vec<DeliveryRow> {
        let query = DeliveryQuery { limit: 1_000, ..Default::default() };
        let mut rows = self.app.store.deliveries(query).await.unwrap().rows;
        rows.reverse();
        rows
    }

    /// The delivery with this number from 0, in the order of acceptance.
    pub(crate) async fn delivery(&self, number: usize) -> DeliveryRow {
        self.deliveries().await.swap_remove(number)
    }

    pub(crate) async fn attempts(&self, id: DeliveryId) -> Vec<Attempt> {
        self.app.store.attempts_of(id).await.unwrap()
    }

    /// Returns once the deliveries match; checks again after every commit of attempts.
    pub(crate) async fn until(&self, wanted: impl Fn(&[DeliveryRow]) -> bool) -> Vec<DeliveryRow> {
        let mut recorded = self.app.dispatcher.recorded();
        let waiting = async {
            loop {
                recorded.borrow_and_update();
                let rows = self.deliveries().await;
                if wanted(&rows) {
                    return rows;
                }
                recorded.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(WAIT_TIMEOUT, Box::pin(waiting)).await {
            Ok(rows) => rows,
            Err(_) => panic!("still {:#?}", self.deliveries().await),
        }
    }

    /// Returns once every delivery is delivered, dead or discarded.
    pub(crate) async fn until_settled(&self, count: usize) -> Vec<DeliveryRow> {
        let mut recorded = self.app.dispatcher.recorded();
        let settled = |rows: &[DeliveryRow]| {
            rows.len() == count && rows.iter().all(|row| row.delivery.settled_at.is_some())
        };
        let rows = self.until(settled).await;
        // The in-memory ledger is updated just after the commit that readers see.
        let counted = async {
            loop {
                recorded.borrow_and_update();
                if self.app.store.ledger().await.unwrap().leased == 0 {
                    return;
                }
                recorded.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, Box::pin(counted)).await.expect("still leased");
        rows
    }

    /// Returns once this delivery has had this many attempts and is not leased.
    pub(crate) async fn until_tried(&self, number: usize, attempts: u32) -> DeliveryRow {
        let tried = |rows: &[DeliveryRow]| {
            rows.get(number).is_some_and(|row| {
                row.delivery.token >= attempts && row.delivery.state != State::Leased
            })
        };
        self.until(tried).await.swap_remove(number)
    }

    /// Opens the circuit of the only mapping, which sends to `receiver`: ten failures over ten seconds,
    /// each with a `Retry-After` of ten minutes, so that no second attempt is made.
    pub(crate) async fn open_circuit(&self, receiver: &Receiver) {
        receiver.set_script(Behaviour::status(500).header("retry-after", "600"));
        for number in 0..10 {
            if number == 9 {
                self.clock.advance(Duration::from_secs(10));
            }
            self.track(&format!("opens-{number}")).await;
            self.until_tried(number, 1).await;
        }
        assert_eq!(self.app.dispatcher.open_circuits().len(), 1);
    }

    /// Advances the clock until the first pending delivery is due.
    pub(crate) async fn advance_to_due(&self) {
        let rows = self.deliveries().await;
        let due = rows.iter().filter_map(|row| row.delivery.due_at).min().expect("one is pending");
        self.clock.advance(due.since(self.clock.service_now()));
    }

    /// The ledger, after the consistency check.
    pub(crate) async fn ledger(&self) -> Ledger {
        let findings = self.app.store.check_consistency(self.clock.service_now()).await.unwrap();
        for finding in &findings {
            assert!(finding.ok, "{finding:?}");
        }
        let ledger = self.app.store.ledger().await.unwrap();
        let sum =
            ledger.pending + ledger.leased + ledger.delivered + ledger.dead + ledger.discarded;
        assert_eq!(ledger.accepted, sum);
        assert_add_up(&*self.app.store).await;
        ledger
    }

    pub(crate) async fn stop(self) -> (Arc<TempDir>, Arc<ManualClock>) {
        self.app.stop().await;
        (self.dir, self.clock)
    }
}
