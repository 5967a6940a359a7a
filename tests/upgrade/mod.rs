//! Upgrades: a database file of every schema version that has landed opens in this program and goes on
//! delivering. The files in `databases/` are written by the program of their time and never changed.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use http::StatusCode;
use postrider::domain::clock::{ManualClock, Timestamp};
use postrider::domain::delivery::{Reason, State};
use postrider::sender::verify_x_signature;
use postrider::store::sqlite::schema_version;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};

/// After the service that wrote version 1's file was stopped, before any of its backlog is due.
const STOPPED_AT: Timestamp = Timestamp::from_micros(1_795_752_199_000_000);
/// All of its backlog is due so long after that.
const DUE_AFTER: Duration = Duration::from_secs(10);

fn databases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/databases")
}

/// A service on a copy of the file of this schema version, with the key that seals its secrets.
async fn start_on(version: i64, stopped_at: Timestamp) -> TestApp {
    let dir = TempDir::new().unwrap();
    let packed = std::fs::read(databases().join(format!("schema-{version}.db.gz"))).unwrap();
    let mut database = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut database).unwrap();
    std::fs::write(dir.path().join("postrider.db"), database).unwrap();
    let key = std::fs::read_to_string(databases().join(format!("schema-{version}.key"))).unwrap();
    let clock = Arc::new(ManualClock::new(stopped_at));
    Builder::after(Arc::new(dir), clock)
        .settings(move |settings| {
            settings.secret_key = Some(SecretString::from(key.trim().to_owned()));
        })
        .start()
        .await
}

/// What the file's pipeline is, but for the receiver's address.
fn pipeline(receiver: &Receiver) -> serde_json::Value {
    json!({"sources": [{
        "name": "website",
        "write_key": "kept",
        "destinations": [
            {
                "name": "warehouse",
                "shared_secret": "kept",
                "secret_headers": {"x-api-key": "kept"},
                "mappings": [
                    {"name": "everything", "url": receiver.url("/everything")},
                    {
                        "name": "orders",
                        "trigger": "type = \"track\" and event = \"Order Completed\"",
                        "url": receiver.url("/orders"),
                        "data": {
                            "total": {"@path": "$.properties.total"},
                            "user": {"@path": "$.userId"},
                        },
                    },
                ],
            },
            {
                "name": "partner",
                "shared_secret": "kept",
                "auth": {"kind": "bearer", "token": "kept"},
                "mappings": [{
                    "name": "identify",
                    "trigger": "type = \"identify\"",
                    "url": receiver.url("/partner"),
                }],
            },
        ],
    }, {"name": "app", "write_key": "kept"}]})
}

#[test]
fn a_database_of_every_schema_version_is_kept() {
    for version in 1..=schema_version() {
        let kept = databases().join(format!("schema-{version}.db.gz"));
        assert!(kept.exists(), "{} is missing: keep a file of each version", kept.display());
    }
}

#[tokio::test]
async fn a_database_of_schema_version_1_opens_and_its_backlog_is_delivered() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start_on(1, STOPPED_AT).await;
    let states: Vec<State> = app.deliveries().await.iter().map(|row| row.delivery.state).collect();
    use State::{Dead, Delivered, Pending};
    let written = [Delivered, Delivered, Dead, Delivered, Delivered, Pending, Pending, Pending];
    assert_eq!(states, written);
    assert_eq!(app.delivery(2).await.delivery.reason, Some(Reason::Rejected));
    assert_eq!(app.ledger().await.events_rejected, 1);

    app.apply(pipeline(&receiver)).await;
    app.clock.advance(DUE_AFTER);
    let requests = receiver.wait_for(3).await;
    let secret = SecretString::from("kept-warehouse-secret");
    for request in &requests {
        let signature = request.header("x-signature").unwrap();
        assert!(verify_x_signature(&secret, &request.body, signature), "{request:?}");
        assert_eq!(request.header("x-api-key"), Some("kept-api-key-0123456789"));
    }
    let orders = requests.iter().find(|request| request.path == "/orders").unwrap();
    assert_eq!(orders.text(), r#"{"total":31.5,"user":"u-2"}"#);

    let rows = app.until_settled(8).await;
    assert_eq!(rows.iter().filter(|row| row.delivery.state == State::Delivered).count(), 7);
    let again = json!({"event": "Order Completed", "userId": "u-2", "messageId": "kept-4"});
    assert_eq!(app.send_with("kept-website-write-key", "/v1/track", &again).await, StatusCode::OK);
    let ledger = app.ledger().await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dead), (8, 7, 1), "a duplicate");
    assert_eq!(ledger.events_duplicate, 1);
}

/// After the service that wrote version 2's file was stopped, before its backlog is due.
const STOPPED_AT_2: Timestamp = Timestamp::from_micros(1_795_767_750_440_494);
/// All of its backlog is due so long after that.
const DUE_AFTER_2: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_database_of_schema_version_2_opens_and_its_backlog_is_delivered() {
    opens_and_delivers(2, STOPPED_AT_2).await;
}

/// After the service that wrote version 3's file was stopped.
const STOPPED_AT_3: Timestamp = Timestamp::from_micros(1_795_777_464_592_017);
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

#[tokio::test]
async fn a_database_of_schema_version_3_continues_service_time_although_the_clock_was_set_back() {
    opens_and_delivers(3, STOPPED_AT_3.shifted(-DAY_MICROS)).await;
}

/// After the service that wrote version 4's file was stopped.
const STOPPED_AT_4: Timestamp = Timestamp::from_micros(1_795_779_834_137_195);

#[tokio::test]
async fn a_database_of_schema_version_4_opens_with_its_pause_and_delivers_when_it_is_resumed() {
    opens_paused_and_delivers(4, STOPPED_AT_4).await;
}

/// After the service that wrote version 5's file was stopped.
const STOPPED_AT_5: Timestamp = Timestamp::from_micros(1_795_790_624_137_450);

#[tokio::test]
async fn a_database_of_schema_version_5_opens_with_its_pause_and_delivers_when_it_is_resumed() {
    opens_paused_and_delivers(5, STOPPED_AT_5).await;
}

async fn opens_paused_and_delivers(version: i64, opened_at: Timestamp) {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start_on(version, opened_at).await;
    app.apply(json!({"sources": [{"name": "website", "write_key": "kept", "destinations": [{
        "name": "warehouse",
        "shared_secret": "kept",
        "mappings": [{"name": "everything", "url": receiver.url("/all")}],
    }]}]}))
    .await;
    app.clock.advance(DUE_AFTER_2);
    app.app.dispatcher.settle_overdue().await.unwrap();
    assert_eq!(app.delivery(0).await.delivery.state, State::Pending, "held");
    let resume = "/api/v1/mappings/website/warehouse/everything/resume";
    let (status, answer) = app.client.post(resume, &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    receiver.wait_for(2).await;
    app.until_settled(4).await;
    let ledger = app.ledger().await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dead), (4, 2, 2));
}

async fn opens_and_delivers(version: i64, opened_at: Timestamp) {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start_on(version, opened_at).await;
    let deliveries = app.deliveries().await;
    let found: Vec<_> =
        deliveries.iter().map(|row| (row.delivery.state, row.delivery.reason)).collect();
    let removed = (State::Dead, Some(Reason::Removed));
    let waits = (State::Pending, None);
    assert_eq!(found, [waits, removed, waits, removed]);
    app.apply(json!({"sources": [{"name": "website", "write_key": "kept", "destinations": [{
        "name": "warehouse",
        "shared_secret": "kept",
        "mappings": [{"name": "all", "renamed_from": "everything", "url": receiver.url("/all")}],
    }]}]}))
    .await;
    app.clock.advance(DUE_AFTER_2);
    let secret = SecretString::from("kept-warehouse-secret");
    for request in receiver.wait_for(2).await {
        let signature = request.header("x-signature").unwrap();
        assert!(verify_x_signature(&secret, &request.body, signature), "{request:?}");
    }
    app.until_settled(4).await;
    let ledger = app.ledger().await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dead), (4, 2, 2));
}
