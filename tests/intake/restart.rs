//! Intake on the real store: documents and de-duplication across a restart.

use http::StatusCode;
use postrider::store::EventQuery;
use serde_json::json;

use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn documents_and_deduplication_survive_a_restart() {
    let receiver = Receiver::start(Behaviour::status(200)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let batch = json!({
        "context": {"library": {"name": "é"}, "2": 1},
        "sentAt": "2027-01-15T08:00:00Z",
        "batch": [
            {"type": "track", "event": "E", "userId": "u", "messageId": "m", "writeKey": "K",
             "timestamp": "2027-01-15T07:59:00+00:00", "context": {"10": 1e21}},
            {"type": "track", "userId": "u", "messageId": "rejected"},
        ],
    });
    assert_eq!(app.send("/v1/batch", &batch).await, StatusCode::OK);
    app.until_settled(1).await;
    let (dir, clock) = app.stop().await;

    let app = Builder::after(dir, clock).start().await;
    let query = EventQuery { limit: 10, ..Default::default() };
    let mut events = app.app.store.events(query).await.unwrap().rows;
    events.sort_by_key(|stored| stored.id);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].event.document.get(), None);
    let document = events[0].event.document().unwrap();
    let delivered = &receiver.requests()[0].body;
    assert_eq!(document, delivered, "a retry would send the same bytes");
    let reason = events[1].event.rejection.as_deref();
    assert_eq!(reason, Some("there is no event: a track needs the event's name"));

    assert_eq!(app.send("/v1/batch", &batch).await, StatusCode::OK);
    let ledger = app.ledger().await;
    assert_eq!((ledger.events_accepted, ledger.accepted), (1, 1));
    assert!(ledger.events_duplicate >= 1, "{ledger:?}");
    app.stop().await;
}
