//! Pruning on request: `POST /prune` and `postrider prune`.

use std::time::Duration;

use http::StatusCode;
use postrider::sender::ApiClient;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

const HOUR: Duration = Duration::from_secs(3_600);

async fn post(app: &TestApp, token: &str, body: &Value) -> (StatusCode, Value) {
    let client = ApiClient::new(&app.base(), Some(SecretString::from(token))).unwrap();
    client.post("/api/v1/prune", body).await.unwrap()
}

#[tokio::test]
async fn what_is_older_than_asked_is_removed_and_audited_and_a_duplicate_stays_one() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    let event = json!({ "userId": "u1", "event": "Old", "messageId": "m-1" });
    assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    app.track("old too").await;
    app.until_settled(2).await;
    app.clock.advance(3 * HOUR);
    app.track("young").await;
    app.until_settled(3).await;

    let (status, answer) = post(&app, &app.token(), &json!({})).await;
    assert_eq!((status, &answer["events"]), (StatusCode::OK, &json!(0)), "30 days are kept");
    assert_eq!((&answer["older_than"], &answer["dead_older_than"]), (&json!("30d"), &json!("90d")));
    let asked = json!({ "older_than": "2h", "limit": 1, "note": "the disk is full" });
    let (_, answer) = post(&app, &app.token(), &asked).await;
    let counts = |it: &Value| ["events", "deliveries", "attempts"].map(|name| it[name].as_u64());
    assert_eq!((counts(&answer), &answer["more"]), ([Some(1); 3], &json!(true)));
    let (code, out, err) = ask(&app, &["prune", "--older-than", "2h", "--yes", "--json"]).await;
    let answer: Value = serde_json::from_str(&out).expect(&err);
    assert_eq!((code, counts(&answer), &answer["more"]), (0, [Some(1); 3], &json!(false)));
    assert_eq!(app.deliveries().await.len(), 1);

    assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    let ledger = app.ledger().await;
    assert_eq!((ledger.events_duplicate, ledger.delivered, ledger.accepted), (1, 3, 3));
    let (_, page) = app.client.get("/api/v1/audit?action=prune").await.unwrap();
    let notes = page["items"].as_array().unwrap().iter().map(|it| &it["note"]);
    let noted = json!("the disk is full");
    assert_eq!(notes.collect::<Vec<_>>(), [&Value::Null, &noted, &Value::Null], "{page}");
    app.stop().await;
}

#[tokio::test]
async fn pruning_stops_at_what_waits_and_at_dead_letters() {
    let refusing = Receiver::start(Behaviour::status(400)).await;
    let app = TestApp::with(&[("crm", &refusing.url("/"), json!({}))]).await;
    app.track("dead").await;
    app.until_settled(1).await;
    let (code, _, err) = ask(&app, &["pause", "website/crm"]).await;
    assert_eq!(code, 0, "{err}");
    app.track("waits").await;
    app.clock.advance(5 * HOUR);
    let (_, out, _) = ask(&app, &["prune", "--older-than", "1s", "--yes"]).await;
    let none = "removed 0 events with 0 deliveries and 0 attempts, settled for 1s or dead for 90d";
    assert_eq!(out.trim(), none);
    let (_, out, _) = ask(&app, &["prune", "--dead-older-than", "2h", "--yes"]).await;
    let one = "removed 1 events with 1 deliveries and 1 attempts, settled for 30d or dead for 2h";
    assert_eq!(out.trim(), one);
    assert_eq!(app.deliveries().await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn pruning_needs_an_admin_of_everything_and_valid_ages() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    for (name, role, limits) in [
        ("on-call", "operator", &[][..]),
        ("crm-admin", "admin", &["--destination", "website/crm"]),
    ] {
        let asked = [&["tokens", "create", name, "--role", role, "--json"], limits].concat();
        let (code, out, err) = ask(&app, &asked).await;
        assert_eq!(code, 0, "{err}");
        let made: Value = serde_json::from_str(&out).unwrap();
        let (status, _) = post(&app, made["secret"].as_str().unwrap(), &json!({})).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}");
    }
    let wrong = json!({ "older_than": "soon", "dead_older_than": "1w", "limit": 0 });
    let (status, answer) = post(&app, &app.token(), &wrong).await;
    let faults = answer["faults"].as_array().unwrap().iter();
    let paths: Vec<_> = faults.map(|it| it["path"].as_str().unwrap()).collect();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(paths, ["older_than", "dead_older_than", "limit"]);
    let (code, _, err) = ask(&app, &["prune", "--older-than", "1h"]).await;
    assert!(code == 2 && err.contains("pass --yes"), "{code}: {err}");
    app.stop().await;
}
