//! The fixture of these tests: intake behind the real listener, with an in-memory pipeline, store and
//! dispatcher.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use postrider::domain::clock::{ManualClock, Timestamp};
use postrider::domain::destination::{Destination, DestinationSettings};
use postrider::domain::event::Event;
use postrider::domain::id::{
    DeliveryId, DestinationId, EventId, MappingId, NodeId, RevisionId, SourceId,
};
use postrider::domain::mapping::{
    Mapping, MappingDefinition, MappingRevision, RequestMethod, UrlValues,
};
use postrider::domain::oversized::OversizedEvents;
use postrider::domain::profile::Profile;
use postrider::domain::secret::SealedSecret;
use postrider::domain::service_time::ServiceTime;
use postrider::domain::source::Source;
use postrider::intake::{Dispatch, Intake, IntakeParts};
use postrider::routing::{LiveRoutes, OpenSecret, Routes};
use postrider::server::listener::{self, ListenerOptions};
use postrider::server::router::RequestRouter;
use postrider::settings::secrets::Purpose;
use postrider::store::{Accepted, LeasedDelivery, NewEvent, Pipeline, StoreError, WriteKey};
use postrider::telemetry::log_rate::LogRate;
use postrider::telemetry::metrics::Metrics;
use postrider::telemetry::refusals::Refusals;
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, Request};

/// The manual clock's time: 2023-11-14T22:13:20.123Z.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_123_456);
pub(super) const SERVICE_NOW: ServiceTime = ServiceTime::from_micros(NOW.as_micros());
pub(super) const NOW_ISO: &str = "2023-11-14T22:13:20.123Z";

/// The mappings: `Hook` has two, `Other` one; `Off` is disabled, and so is one mapping of `Other`.
pub(super) const FIRST: MappingId = MappingId(1);
pub(super) const SECOND: MappingId = MappingId(2);
pub(super) const OTHER: MappingId = MappingId(3);

pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<MemoryStore>,
    pub(super) dispatch: Arc<MemoryDispatch>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log_rate: Arc<LogRate>,
    pub(super) intake: Arc<Intake>,
    pub(super) shutdown: CancellationToken,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// The options of a stage.
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) max_connections: u32,
    pub(super) grace: Duration,
    pub(super) oversized: OversizedEvents,
}

impl Default for Conditions {
    fn default() -> Self {
        let long = Duration::from_secs(60);
        Self {
            header_timeout: long,
            body_timeout: long,
            write_timeout: long,
            max_connections: 64,
            grace: long,
            oversized: OversizedEvents::RejectEvent,
        }
    }
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(Conditions::default()).await
    }

    pub(super) async fn with(conditions: Conditions) -> Self {
        let store = Arc::new(MemoryStore::default());
        let dispatch = Arc::new(MemoryDispatch::default());
        let metrics = Arc::new(Metrics::new());
        let log_rate = Arc::new(LogRate::default());
        let refusals = Refusals::new(metrics.clone(), log_rate.clone());
        let intake = Arc::new(Intake::new(IntakeParts {
            routes: LiveRoutes::new(routes()),
            store: store.clone(),
            dispatch: dispatch.clone(),
            spans: None,
            limiter: Arc::default(),
            live: postrider::live::Feed::new(1, tokio_util::sync::CancellationToken::new()),
            clock: Arc::new(ManualClock::new(NOW)),
            metrics: metrics.clone(),
            refusals: refusals.clone(),
            body_timeout: conditions.body_timeout,
            oversized: conditions.oversized,
            public_url: None,
            trusted_proxies: postrider::intake::TrustedProxies::default(),
            rng: StdRng::seed_from_u64(7),
        }));
        let listener = listener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let options = ListenerOptions {
            header_timeout: conditions.header_timeout,
            max_connections: conditions.max_connections,
            body_timeout: conditions.body_timeout,
            write_timeout: conditions.write_timeout,
            grace: conditions.grace,
        };
        let shutdown = CancellationToken::new();
        let front = RequestRouter::new(intake.clone(), operator(), refusals);
        let serving = tokio::spawn(listener::serve(listener, front, options, shutdown.clone()));
        let serving = Mutex::new(Some(serving));
        Self { address, store, dispatch, metrics, log_rate, intake, shutdown, serving }
    }

    /// Sends bytes and reads until the connection ends.
    pub(super) async fn send_raw(&self, bytes: &[u8]) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.expect("listening");
        // The service may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    pub(super) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends a request on a new connection.
    pub(super) async fn send(&self, request: &Request) -> Answer {
        let mut client = self.connect().await;
        client.try_write(request.bytes()).await;
        client.answer().await.expect("a response")
    }

    /// Sends a body that is accepted, and returns its only event.
    pub(super) async fn accept_one(&self, path: &str, body: &str) -> Arc<Event> {
        self.send(&Request::post(path, body)).await.assert_success();
        let mut events = self.store.take_events();
        assert_eq!(events.len(), 1, "{body}");
        events.remove(0).event
    }

    /// Returns once the listener has stopped.
    pub(super) async fn stopped(&self) {
        let serving = self.serving.lock().expect("not poisoned").take();
        serving.expect("stopped once").await.expect("the listener ends well");
    }
}

/// Two of the operator's routes.
fn operator() -> Router {
    use axum::routing::{get, post};
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/sign-in", post(async |body: axum::body::Bytes| body))
}

fn routes() -> Routes {
    let source = |id, name: &str, enabled| Source {
        id: SourceId(id),
        name: name.to_owned(),
        enabled,
        limits: postrider::domain::source::SourceLimits::default(),
        created_at: NOW,
    };
    let key = |source_id, key: &str| WriteKey {
        source_id: SourceId(source_id),
        digest: postrider::domain::digest::sha256(&[key.as_bytes()]),
        sealed: SealedSecret {
            id: [0; 16],
            key_id: String::new(),
            sealed: Vec::new(),
            created_at: NOW,
            retires_at: None,
        },
    };
    let pipeline = Pipeline {
        version: 1,
        sources: vec![source(1, "web", true), source(2, "gone", false)],
        write_keys: vec![key(1, "KEY"), key(2, "GONE")],
        destinations: vec![
            destination(1, "Hook", true),
            destination(2, "Other", true),
            destination(3, "Off", false),
        ],
        shared_secrets: Vec::new(),
        mappings: vec![
            mapping(1, 1, true),
            mapping(2, 1, true),
            mapping(3, 2, true),
            mapping(4, 2, false),
            mapping(5, 3, true),
        ],
        ..Pipeline::default()
    };
    Routes::build(&pipeline, &NoSecrets, SERVICE_NOW).expect("no secrets to open")
}

fn destination(id: i64, name: &str, enabled: bool) -> Destination {
    Destination {
        id: DestinationId(id),
        source_id: SourceId(1),
        name: name.to_owned(),
        enabled,
        resumed_at: SERVICE_NOW,
        settings: DestinationSettings::default(),
        created_at: NOW,
    }
}

fn mapping(id: i64, destination_id: i64, enabled: bool) -> Mapping {
    let definition = MappingDefinition {
        trigger: String::new(),
        url: "https://receiver.example/hook".into(),
        url_values: UrlValues::default(),
        profile: Profile::default(),
        method: RequestMethod::default(),
        headers: serde_json::Map::new(),
        data: None,
        function: None,
        batching: None,
    };
    Mapping {
        id: MappingId(id),
        destination_id: DestinationId(destination_id),
        name: format!("mapping {id}"),
        enabled,
        resumed_at: SERVICE_NOW,
        revision: MappingRevision {
            id: RevisionId(id),
            number: 1,
            definition,
            created_at: NOW,
            created_by: "ops".to_owned(),
        },
        created_at: NOW,
    }
}

struct NoSecrets;

impl OpenSecret for NoSecrets {
    type Error = Infallible;

    fn open_secret(&self, _: &SealedSecret, _: Purpose) -> Result<SecretString, Infallible> {
        Ok(SecretString::from(""))
    }
}

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Full,
    Overloaded,
    Closed,
}

/// Stores accepted events in memory, de-duplicated by messageId.
#[derive(Default)]
pub(super) struct MemoryStore {
    events: Mutex<Vec<NewEvent>>,
    seen: Mutex<HashSet<String>>,
    failure: Mutex<Option<Failure>>,
    no_room: AtomicBool,
    hold: Mutex<Option<Arc<Hold>>>,
    last_id: AtomicU32,
}

/// Blocks commits until a test releases them.
pub(super) struct Hold {
    entered: Semaphore,
    released: Semaphore,
}

impl Hold {
    /// Returns once a commit is blocked.
    pub(super) async fn entered(&self) {
        self.entered.acquire().await.expect("never closed").forget();
    }

    pub(super) fn release(&self) {
        self.released.add_permits(1);
    }
}

impl MemoryStore {
    pub(super) fn fail(&self, failure: Failure) {
        *self.failure.lock().expect("not poisoned") = Some(failure);
    }

    pub(super) fn set_no_room(&self) {
        self.no_room.store(true, Ordering::Relaxed);
    }

    pub(super) fn hold(&self) -> Arc<Hold> {
        let hold = Arc::new(Hold { entered: Semaphore::new(0), released: Semaphore::new(0) });
        *self.hold.lock().expect("not poisoned") = Some(hold.clone());
        hold
    }

    pub(super) fn take_events(&self) -> Vec<NewEvent> {
        std::mem::take(&mut *self.events.lock().expect("not poisoned"))
    }

    pub(super) async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        let hold = self.hold.lock().expect("not poisoned").clone();
        if let Some(hold) = hold {
            hold.entered.add_permits(1);
            hold.released.acquire().await.expect("never closed").forget();
        }
        match *self.failure.lock().expect("not poisoned") {
            None => {}
            Some(Failure::Full) => return Err(StoreError::Full),
            Some(Failure::Overloaded) => return Err(StoreError::Overloaded),
            Some(Failure::Closed) => return Err(StoreError::Closed),
        }
        let mut seen = self.seen.lock().expect("not poisoned");
        let mut kept = self.events.lock().expect("not poisoned");
        let mut answers = Vec::new();
        for event in events {
            if seen.insert(event.event.message_id.clone()) {
                let event_id = EventId(self.next_id());
                let ids = event.deliveries.iter().map(|_| DeliveryId(self.next_id()));
                answers.push(Accepted::Stored { event_id, delivery_ids: ids.collect() });
                kept.push(event);
            } else {
                answers.push(Accepted::Duplicate);
            }
        }
        Ok(answers)
    }

    fn next_id(&self) -> i64 {
        i64::from(self.last_id.fetch_add(1, Ordering::Relaxed)) + 1
    }

    pub(super) fn has_room(&self) -> bool {
        !self.no_room.load(Ordering::Relaxed)
    }
}

/// A dispatcher with a configurable number of slots per mapping; records all calls.
#[derive(Default)]
pub(super) struct MemoryDispatch {
    pub(super) room: AtomicU32,
    pub(super) dispatched: Mutex<Vec<LeasedDelivery>>,
    pub(super) hints: Mutex<Vec<MappingId>>,
    reserved: Mutex<Vec<(MappingId, u32)>>,
    released_slots: Mutex<Vec<(MappingId, u32)>>,
}

impl MemoryDispatch {
    pub(super) fn set_room(&self, room: u32) {
        self.room.store(room, Ordering::Relaxed);
    }

    /// Reserved slots that were neither used nor released.
    pub(super) fn leaked(&self) -> i64 {
        let sum = |slots: &Mutex<Vec<(MappingId, u32)>>| -> i64 {
            slots.lock().expect("not poisoned").iter().map(|(_, count)| i64::from(*count)).sum()
        };
        let used = self.dispatched.lock().expect("not poisoned").len();
        sum(&self.reserved) - sum(&self.released_slots) - i64::try_from(used).expect("few")
    }
}

impl Dispatch for MemoryDispatch {
    fn node_id(&self) -> NodeId {
        NodeId(42)
    }

    fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        let granted = count.min(self.room.load(Ordering::Relaxed));
        self.reserved.lock().expect("not poisoned").push((mapping_id, granted));
        granted
    }

    fn release(&self, mapping_id: MappingId, unused: u32) {
        self.released_slots.lock().expect("not poisoned").push((mapping_id, unused));
    }

    fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        self.dispatched.lock().expect("not poisoned").extend(deliveries);
    }

    fn notify_due(&self, mapping_ids: &[MappingId]) {
        self.hints.lock().expect("not poisoned").extend_from_slice(mapping_ids);
    }
}
