//! Deliveries that are held because their mapping cannot be used, and pipelines that cannot be loaded.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use postrider::domain::delivery::State;
use serde_json::json;

use crate::support::app::{Builder, TestApp, execute, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn a_mapping_that_this_version_cannot_compile_holds_its_deliveries() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let (dir, clock) = app.stop().await;
    for broken in [
        "DROP TRIGGER mapping_revisions_are_immutable;
        UPDATE mapping_revisions SET definition = json_set(definition, '$.data', json('{\"@later\": 1}'))",
        "UPDATE mapping_revisions SET definition = json_set(definition, '$.trigger', 'later(')",
    ] {
        execute(dir.path(), broken).await;
    }
    let app = Builder::after(Arc::clone(&dir), Arc::clone(&clock)).start().await;
    app.track("held").await;
    let row = app.delivery(0).await.delivery;
    assert_eq!(row.state, State::Pending);
    let shown = app.client.get("/api/v1/deliveries").await.unwrap().1;
    assert_eq!(shown["items"][0]["held"], "this version cannot compile the mapping");
    app.stop().await;
    assert_eq!(receiver.requests().len(), 0);
    let mended = "UPDATE mapping_revisions
        SET definition = json_set(json_remove(definition, '$.data'), '$.trigger', '')";
    execute(dir.path(), mended).await;
    let app = Builder::after(dir, clock).start().await;
    assert_eq!(app.until_settled(1).await[0].delivery.state, State::Delivered);
}

const MEND: &str =
    "UPDATE shared_secrets SET key_id = substr(key_id, 9) WHERE key_id LIKE 'another-%'";

#[tokio::test]
async fn a_change_that_cannot_be_activated_is_reported_and_activated_later() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let secret = json!({"shared_secret": {"value": "a secret of twenty-four bytes"}});
    let app = TestApp::with(&[("one", &receiver.url("/"), secret)]).await;
    execute(app.dir.path(), "UPDATE shared_secrets SET key_id = 'another-' || key_id").await;
    let mut other = pipeline(&[("two", &receiver.url("/two"), json!({}))]);
    other["sources"][0]["name"] = json!("other");
    other["sources"][0]["write_key"] = json!({"value": "the-other-key"});
    let request = json!({"document": other});
    let answer = app.client.post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.1);
    assert_eq!(answer.1["code"], "not_active", "{}", answer.1);
    execute(app.dir.path(), MEND).await;
    let event = json!({"userId": "u1", "event": "Two"});
    let accepted = async {
        while app.send_with("the-other-key", "/v1/track", &event).await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), accepted).await.expect("active");
    assert_eq!(receiver.wait_for(1).await[0].path, "/two");
}
