//! Test sends: a mapping tried on the last event, on any or on a sample; never counted as deliveries.

use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

const PATH: &str = "/api/v1/mappings/website/one/everything/tests";

async fn test(app: &TestApp, body: Value) -> (u16, Value) {
    let (status, answer) = app.client.post(PATH, &body).await.unwrap();
    (status.as_u16(), answer)
}

#[tokio::test]
async fn a_preview_sends_nothing_and_a_test_send_is_recorded_but_never_counted() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    let (status, answer) = test(&app, json!({})).await;
    assert_eq!((status, answer["code"].as_str()), (404, Some("not_found")), "{answer}");
    app.track("first").await;
    app.track("second").await;
    app.until_settled(2).await;
    let before = app.app.store.ledger().await.unwrap();
    assert_eq!(receiver.requests().len(), 2);

    let (status, preview) = test(&app, json!({})).await;
    assert_eq!(status, 200, "{preview}");
    assert_eq!(preview["sent"], false);
    assert_eq!(preview["result"], Value::Null);
    let body: Value = serde_json::from_str(preview["request"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["event"], "second");
    assert_eq!(receiver.requests().len(), 2);

    let (_, sent) = test(&app, json!({"send": true})).await;
    assert_eq!(sent["result"]["outcome"], "delivered", "{sent}");
    assert_eq!(sent["result"]["status"], 200);
    let headers = sent["request"]["headers"].as_str().unwrap();
    assert!(headers.contains("webhook-id: test_"), "{headers}");
    assert!(!headers.contains(crate::support::app::SECRET));
    let (_, sample) = test(&app, json!({"sample": "group", "send": true})).await;
    assert_eq!(sample["event"], Value::Null);
    assert!(sample["request"]["body"].as_str().unwrap().contains("Initech"));
    let arrived = receiver.requests();
    assert_eq!(arrived.len(), 4);

    let (_, list) = app.client.get(PATH).await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][0]["event"], Value::Null);
    assert_eq!(list["items"][1]["event"], preview["event"]);
    assert_eq!(app.app.store.ledger().await.unwrap(), before);
    assert_eq!(app.deliveries().await.len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn a_test_meets_the_address_guard_and_the_same_faults_as_a_delivery() {
    let app = TestApp::with(&[("one", "http://127.0.0.1:9/", json!({}))]).await;
    let url = json!({"@template": "http://10.0.0.1/{{userId}}"});
    let mapping = json!({"name": "everything", "url": url, "data": {"id": {"@path": "$.userId"}}});
    app.apply(json!({"sources": [{"name": "website", "destinations": [
        {"name": "one", "mappings": [mapping]}]}]}))
        .await;
    let (_, refused) = test(&app, json!({"sample": "track", "send": true})).await;
    assert_eq!(refused["result"]["outcome"], "address", "{refused}");
    assert_eq!(refused["request"]["body"], "{\"id\":\"019mr8mf4r\"}");
    let (status, wrong) = test(&app, json!({"sample": "trakc"})).await;
    assert_eq!(status, 422, "{wrong}");
    let (status, wrong) = test(&app, json!({"sample": "track", "event": "evt_1"})).await;
    assert_eq!(status, 422, "{wrong}");
    app.stop().await;
}

#[tokio::test]
async fn the_command_line_shows_the_request_and_what_came_of_it() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    let mapping = "website/one/everything";
    let (code, stdout, stderr) = ask(&app, &["test", mapping, "--sample", "track"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("matched  yes") && stdout.contains("Purchased an Item"), "{stdout}");
    assert_eq!(receiver.requests().len(), 0);
    let send = ["test", mapping, "--sample", "track", "--send", "--json"];
    let (code, stdout, stderr) = ask(&app, &send).await;
    assert_eq!(code, 0, "{stderr}");
    let view: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(view["result"]["outcome"], "delivered");
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(ask(&app, &["test", "website/one"]).await.0, 2);
    assert_eq!(ask(&app, &["test", "website/one/nothing"]).await.0, 3);
    app.stop().await;
}
