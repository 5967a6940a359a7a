//! The examples, run unchanged but for their addresses: applied by the command line, fed with
//! events, and compared with what the receiver gets.

use postrider::domain::delivery::{Reason, State};
use postrider::sender::verify_x_signature;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::commands::ask_with;
use crate::support::app::{Builder, TestApp, WRITE_KEY};
use crate::support::oauth::{AUDIENCE, CLIENT_ID, CLIENT_SECRET, OauthServer};
use crate::support::receiver::{Behaviour, Received, Receiver};

const SECRET: &str = "the-example-secret";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/segment");

/// Applies an example in which these texts stand for others.
async fn apply(app: &TestApp, name: &str, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(format!("{FOLDER}/{name}")).unwrap();
    for (example, here) in changes {
        assert!(text.contains(example), "{name} has no {example}");
        text = text.replace(example, here);
    }
    let file = app.dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    let function = app.dir.path().join("enrich.js");
    std::fs::copy(format!("{FOLDER}/enrich.js"), function).unwrap();
    let variables = [
        ("WEBSITE_WRITE_KEY", WRITE_KEY),
        ("WEBHOOKS_SECRET", SECRET),
        ("WEBHOOK_SECRET", SECRET),
        ("CRM_SECRET", SECRET),
        ("CRM_CLIENT_SECRET", CLIENT_SECRET),
    ];
    let (code, _, stderr) =
        ask_with(app, &["apply", "-f", file.to_str().unwrap()], &variables).await;
    assert_eq!(code, 0, "{stderr}");
}

async fn send(app: &TestApp, call: &str, event: Value) {
    assert_eq!(app.send(&format!("/v1/{call}"), &event).await, http::StatusCode::OK);
}

fn json_of(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// Whether the request's `X-Signature` is that of these bytes.
fn is_signed(request: &Received, bytes: &[u8]) -> bool {
    let signature = request.header("x-signature").unwrap();
    verify_x_signature(&SecretString::from(SECRET.to_owned()), bytes, signature)
}

#[tokio::test]
async fn the_classic_webhook_sends_whole_events_to_each_url() {
    let app = Builder::new().start().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    apply(&app, "classic.yaml", &[("https://hooks.example.com", &receiver.url(""))]).await;
    let event = json!({"userId": "u1", "event": "Signed Up", "messageId": "m-1"});
    send(&app, "track", event).await;
    app.until_settled(2).await;
    let requests = receiver.requests();
    let mut paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/first", "/second"]);
    for request in &requests {
        assert_eq!(json_of(request)["messageId"], "m-1");
        assert!(is_signed(request, &request.body));
        let team = (request.path == "/second").then_some("growth");
        assert_eq!(request.header("x-team"), team);
    }
}

#[tokio::test]
async fn the_actions_webhook_sends_matching_events_in_batches() {
    let app = Builder::new().start().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    apply(&app, "actions.yaml", &[("https://hooks.example.com", &receiver.url(""))]).await;
    let order = |user: &str, revenue: u32| {
        json!({
            "userId": user,
            "event": "Order Completed",
            "properties": {"revenue": revenue, "products": [{"sku": "a", "price": 1}, {"sku": "b"}]},
        })
    };
    let batch = [order("u1", 30), order("u2", 5), order("u3", 12)];
    let typed = batch.map(|mut event| {
        event["type"] = json!("track");
        event
    });
    send(&app, "batch", json!({"batch": typed})).await;
    send(&app, "track", json!({"userId": "u4", "event": "Signed Up"})).await;
    app.clock.advance(std::time::Duration::from_secs(1));
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    let requests = receiver.requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/orders"));
    assert_eq!(request.header("x-kind"), Some("track"));
    let expected = json!([
        {"user": "u1", "revenue": 30, "title": "Order Completed by u1",
            "skus": [{"sku": "a"}, {"sku": "b"}], "plan": "none"},
        {"user": "u3", "revenue": 12, "title": "Order Completed by u3",
            "skus": [{"sku": "a"}, {"sku": "b"}], "plan": "none"},
    ]);
    assert_eq!(json_of(request), expected);
    // Segment's rule: the signature of a batch is that of its first event.
    let text = request.text();
    let first_end = text.find(",{\"user\"").unwrap();
    assert!(is_signed(request, &text.as_bytes()[1..first_end]));
}

#[tokio::test]
async fn the_extensible_webhook_gets_a_token_and_runs_its_function() {
    let app = Builder::new().start().await;
    let server = OauthServer::start(Some(app.clock.clone())).await;
    let changes = [
        ("https://crm.example.com", server.receiver.url("")),
        ("https://id.example.com", server.receiver.url("")),
        ("client_id: postrider", format!("client_id: {CLIENT_ID:?}")),
        ("https://api.example.com/events", AUDIENCE.to_owned()),
    ];
    let changes: Vec<_> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    apply(&app, "extensible.yaml", &changes).await;
    let identify = |user: &str, email: &str| json!({"userId": user, "traits": {"email": email}});
    send(&app, "identify", identify("u1", "Hector@Test.org")).await;
    app.until_settled(1).await;
    send(&app, "identify", identify("u2", "achilles@example.com")).await;
    app.until_settled(2).await;
    send(&app, "identify", json!({"userId": "u3"})).await;
    app.until_settled(3).await;
    send(&app, "track", json!({"userId": "u4", "event": "Signed Up"})).await;
    let rows = app.until_settled(4).await;
    let ends: Vec<_> = rows.iter().map(|row| (row.delivery.state, row.delivery.reason)).collect();
    let expected = [
        (State::Delivered, None),
        (State::Discarded, None),
        (State::Dead, Some(Reason::Function)),
        (State::Delivered, None),
    ];
    assert_eq!(ends, expected);
    let bodies: Vec<Value> = server.resource_requests().iter().map(json_of).collect();
    let expected = [
        json!({"id": "u1", "email": "hector@test.org", "region": "eu"}),
        json!({"id": "u4", "did": "Signed Up", "region": "eu"}),
    ];
    assert_eq!(bodies, expected);
    assert_eq!(server.issued(), 1, "one token for all");
    server.assert_correct();
}
