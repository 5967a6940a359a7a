//! Panics in an attempt, and of the tasks that the service cannot do without; a record that the store refuses.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::clock::{Clock, ManualClock, Moment, Timestamp};
use postrider::domain::delivery::State;
use postrider::domain::service_time::ServiceTime;
use postrider::sender::{Resolve, ResolveError};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::app::{Builder, TestApp, execute, pipeline};
use crate::support::faulty_outbox::Faults;
use crate::support::receiver::{Behaviour, Receiver};

/// Resolves every name to this machine. Once it is told to, a lookup waits, within its attempt, and panics.
#[derive(Default)]
struct PanickingResolver {
    panics: AtomicBool,
    waited: Notify,
}

#[async_trait]
impl Resolve for PanickingResolver {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if self.panics.swap(false, Ordering::SeqCst) {
            self.waited.notified().await;
            panic!("injected into an attempt");
        }
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

#[tokio::test]
async fn a_panic_in_an_attempt_gives_back_its_place_its_memory_and_its_lease() {
    // Each connection is a lookup of its own.
    let receiver = Receiver::start(Behaviour::ok().header("connection", "close")).await;
    let resolver = Arc::new(PanickingResolver::default());
    let app = Builder::new().resolver(Arc::clone(&resolver) as _).start().await;
    let url = receiver.url("/").replace("127.0.0.1", "receiver.test");
    // One place: the second delivery needs that of the first.
    app.apply(pipeline(&[("one", &url, json!({"max_in_flight": 1}))])).await;
    resolver.panics.store(true, Ordering::SeqCst);
    app.track("panics").await;
    app.track("goes on").await;
    resolver.waited.notify_one();
    let is_delivered = |rows: &[postrider::store::DeliveryRow], number: usize| {
        rows.get(number).is_some_and(|row| row.delivery.state == State::Delivered)
    };
    app.until(|rows| is_delivered(rows, 1)).await;
    assert!(!resolver.panics.load(Ordering::SeqCst), "the first attempt panicked");
    let first = app.delivery(0).await.delivery;
    assert_eq!(first.state, State::Leased, "its outcome is unknown until its lease expires");
    let until_expiry = first.lease_expires_at.expect("leased").since(app.clock.service_now());
    app.clock.advance(until_expiry + Duration::from_secs(1));
    app.app.dispatcher.expire_leases().await.unwrap();
    let row = app.until_tried(0, 1).await.delivery;
    assert_eq!((row.state, row.last_outcome), (State::Pending, Some(Outcome::Unknown)));
    app.advance_to_due().await;
    app.until(|rows| is_delivered(rows, 0)).await;
    app.app.dispatcher.observe();
    assert_eq!(app.app.metrics.in_flight.get(), 0);
    assert_eq!(app.ledger().await.delivered, 2);
}

async fn faulty(receiver: &Receiver) -> (TestApp, Arc<Faults>) {
    let faults = Faults::none();
    let app = Builder::new().outbox(&faults).start().await;
    app.apply(pipeline(&[("one", &receiver.url("/"), json!({}))])).await;
    (app, faults)
}

/// Resolves only because the service has failed: nothing else wakes it.
async fn failure(app: &TestApp) -> String {
    let failed = tokio::time::timeout(Duration::from_secs(30), app.app.failed());
    failed.await.expect("the service goes on as if nothing had happened").to_string()
}

/// The test's clock, which panics on the writer's thread once it is told to.
struct PanickingClock {
    clock: Arc<ManualClock>,
    panics: AtomicBool,
}

#[async_trait]
impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        let is_writer = std::thread::current().name() == Some("writer");
        let panics = is_writer && self.panics.swap(false, Ordering::SeqCst);
        assert!(!panics, "injected into the writer");
        self.clock.now()
    }

    fn service_now(&self) -> ServiceTime {
        self.clock.service_now()
    }

    fn to_wall(&self, at: ServiceTime) -> Timestamp {
        self.clock.to_wall(at)
    }

    fn continue_from(&self, last: Moment) {
        self.clock.continue_from(last);
    }

    fn take_step(&self) -> Option<i64> {
        self.clock.take_step()
    }

    async fn sleep_until(&self, at: ServiceTime) {
        self.clock.sleep_until(at).await;
    }
}

#[tokio::test]
async fn a_panic_of_the_writer_ends_the_process() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let builder = Builder::new();
    let clock = PanickingClock { clock: builder.clock(), panics: AtomicBool::new(false) };
    let clock = Arc::new(clock);
    let app = builder.clock_of_app(Arc::clone(&clock) as _).start().await;
    app.apply(pipeline(&[("one", &receiver.url("/"), json!({}))])).await;
    clock.panics.store(true, Ordering::SeqCst);
    // It may be acknowledged before the writer comes to record its attempt.
    let _ = app.send("/v1/track", &json!({"event": "a", "userId": "u1"})).await;
    let expected = "the database failed and the process ends; a restart recovers: \
                    the writer's thread panicked";
    assert_eq!(failure(&app).await, expected);
    // Nothing is acknowledged that is not written.
    let event = json!({"event": "b", "userId": "u1", "messageId": "b"});
    assert_ne!(app.send("/v1/track", &event).await, StatusCode::OK);
}

#[tokio::test]
async fn a_panic_of_the_completer_ends_the_process() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let (app, faults) = faulty(&receiver).await;
    faults.panic_in_records();
    app.track("a").await;
    let expected =
        "the completer panicked: injected into a record; the process ends, a restart recovers";
    assert_eq!(failure(&app).await, expected);
}

#[tokio::test]
async fn a_panic_of_the_claimer_ends_the_process() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let (app, faults) = faulty(&receiver).await;
    app.track("a").await;
    app.until_tried(0, 1).await;
    faults.panic_in_claims();
    app.advance_to_due().await;
    let expected =
        "the claimer panicked: injected into a claim; the process ends, a restart recovers";
    assert_eq!(failure(&app).await, expected);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_blocks_none_beside_it() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let batching =
        json!({"name": "everything", "url": receiver.url("/"), "batching": {"size": 10}});
    let app = TestApp::with(&[("one", "", json!({"mappings": [batching]}))]).await;
    // The attempts of one request are one step of the store.
    execute(
        app.dir.path(),
        "CREATE TRIGGER refused BEFORE INSERT ON attempts
         WHEN NEW.delivery_id = (SELECT min(id) + 3 FROM deliveries)
         BEGIN SELECT RAISE(ABORT, 'injected'); END",
    )
    .await;
    let event = |number| json!({"type": "track", "event": "a", "userId": "u", "messageId": format!("m{number}")});
    let batch: Vec<_> = (0..10).map(event).collect();
    assert_eq!(app.send("/v1/batch", &json!({"batch": batch})).await, StatusCode::OK);
    let in_state = |rows: &[postrider::store::DeliveryRow], state| {
        rows.iter().filter(|row| row.delivery.state == state).count()
    };
    let rows = app.until(|rows| in_state(rows, State::Delivered) == 9).await;
    assert_eq!(rows[3].delivery.state, State::Leased);
    assert_eq!(receiver.requests().len(), 1);
    execute(app.dir.path(), "DROP TRIGGER refused").await;
    app.until_settled(10).await;
    assert_eq!(receiver.requests().len(), 1, "it was recorded, not sent again");
}
