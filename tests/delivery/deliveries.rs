//! Deliveries end to end, from intake to a recorded outcome.

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::clock::Clock as _;
use postrider::domain::delivery::{Reason, State};
use postrider::sender::{verify_standard, verify_x_signature};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Received, Receiver, in_turn};

fn assert_signed(request: &Received, secret: &str) {
    let secret = SecretString::from(secret);
    let header = |name: &str| request.header(name).unwrap_or_else(|| panic!("no {name}"));
    assert!(verify_x_signature(&secret, &request.body, header("x-signature")));
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signatures = header("webhook-signature");
    assert!(verify_standard(&secret, header("webhook-id"), timestamp, &request.body, signatures));
}

#[tokio::test]
async fn every_event_type_is_delivered_once_signed_and_recorded() {
    let receiver = Receiver::start(Behaviour::ok().header("x-answer", "yes").body("thanks")).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    let calls = [
        ("track", json!({"event": "Bought", "userId": "u1", "messageId": "m0"})),
        ("identify", json!({"userId": "u1", "traits": {"plan": "pro"}, "messageId": "m1"})),
        ("page", json!({"userId": "u1", "name": "Home", "messageId": "m2"})),
        ("screen", json!({"userId": "u1", "name": "Main", "messageId": "m3"})),
        ("group", json!({"userId": "u1", "groupId": "g1", "messageId": "m4"})),
        ("alias", json!({"userId": "u1", "previousId": "p1", "messageId": "m5"})),
        ("delete", json!({"userId": "u1", "messageId": "m6"})),
    ];
    for (call, body) in &calls {
        assert_eq!(app.send(&format!("/v1/{call}"), body).await, StatusCode::OK, "{call}");
    }
    app.until_settled(7).await;
    let mut requests = receiver.requests();
    assert_eq!(requests.len(), 7);
    requests.sort_by_key(|it| {
        serde_json::from_slice::<Value>(&it.body).unwrap()["messageId"].as_str().map(str::to_owned)
    });
    for (request, (call, body)) in requests.iter().zip(&calls) {
        assert_signed(request, SECRET);
        let arrived: Value = serde_json::from_str(request.text()).unwrap();
        assert_eq!(arrived["type"], *call);
        assert_eq!(arrived["userId"], body["userId"]);
        assert_eq!(arrived["receivedAt"], "2027-01-15T08:00:00.000Z");
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert!(request.header("user-agent").unwrap().starts_with("Postrider/"));
    }
    let delivery = app.delivery(0).await.delivery;
    let attempts = app.attempts(delivery.id).await;
    assert_eq!(attempts.len(), 1);
    let made = &attempts[0].result;
    assert_eq!((made.outcome, made.status, &made.error), (Outcome::Delivered, Some(200), &None));
    assert_eq!(made.url, receiver.url("/hook"));
    assert!(made.request_headers.contains("webhook-id: dlv_"), "{}", made.request_headers);
    assert!(made.response_headers.contains("x-answer: yes"), "{}", made.response_headers);
    assert_eq!(made.response_body, "thanks");
    assert!(made.body_sha256.is_some());
    let ledger = app.ledger().await;
    assert_eq!((ledger.accepted, ledger.delivered), (7, 7));
}

#[tokio::test]
async fn a_retry_has_the_same_webhook_id_and_body_with_a_fresh_timestamp() {
    // A connection that is closed without an answer ends the attempt only if it is a new one.
    let failing = Behaviour::status(503).header("connection", "close");
    let script = in_turn(vec![failing, Behaviour::reset(), Behaviour::ok()]);
    let receiver = Receiver::start(script).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("retried").await;
    for tries in 1..3 {
        let row = app.until_tried(0, tries).await;
        assert_eq!(row.delivery.state, State::Pending);
        // In one advance: the next attempt must not start before it.
        let due_in = row.delivery.due_at.unwrap().since(app.clock.service_now());
        app.clock.advance(due_in.max(std::time::Duration::from_secs(1)));
    }
    app.until_settled(1).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_signed(request, SECRET);
        assert_eq!(request.body, requests[0].body);
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"));
    }
    assert_ne!(requests[0].header("webhook-timestamp"), requests[2].header("webhook-timestamp"));
    let delivery = app.delivery(0).await.delivery;
    let outcomes: Vec<_> =
        app.attempts(delivery.id).await.iter().map(|it| (it.number, it.result.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::ServerError), (2, Outcome::Reset), (3, Outcome::Delivered)]);
}

#[tokio::test]
async fn a_2xx_with_a_broken_body_is_one_delivered_attempt_with_the_fault_on_record() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec();
    let receiver = Receiver::start(Behaviour::Raw(cut)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("cut").await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!(row.delivery.state, State::Delivered);
    let attempts = app.attempts(row.delivery.id).await;
    let made: Vec<_> = attempts.iter().map(|it| (it.result.outcome, it.result.status)).collect();
    assert_eq!(made, [(Outcome::Delivered, Some(200))]);
    let error = attempts[0].result.error.as_deref().unwrap();
    assert!(error.starts_with("answered 200 OK; the receiver closed the connection"), "{error}");
    assert_eq!(attempts[0].result.response_body, "half");
    assert_eq!(receiver.requests().len(), 1);
    app.ledger().await;
}

#[tokio::test]
async fn a_non_retryable_answer_makes_a_dead_letter_at_once() {
    let elsewhere = Receiver::start(Behaviour::ok()).await;
    let target = elsewhere.url("/");
    let cases = [
        (Behaviour::status(400), Reason::Rejected),
        (Behaviour::status(410), Reason::Rejected),
        (Behaviour::status(301).header("location", &target), Reason::Redirect),
    ];
    for (behaviour, reason) in cases {
        let receiver = Receiver::start(behaviour).await;
        let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
        app.track("refused").await;
        let row = app.until_settled(1).await.swap_remove(0);
        assert_eq!((row.delivery.state, row.delivery.reason), (State::Dead, Some(reason)));
        assert_eq!(receiver.requests().len(), 1);
        app.ledger().await;
    }
    assert_eq!(elsewhere.requests().len(), 0, "a redirect is never followed");
}

#[tokio::test]
async fn an_address_that_is_no_longer_allowed_gets_no_request() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).settings(|it| it.allow_networks.clear()).start().await;
    app.track("guarded").await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!(row.delivery.reason, Some(Reason::Address));
    let attempts = app.attempts(row.delivery.id).await;
    assert!(attempts[0].result.error.as_ref().unwrap().contains("127.0.0.1"));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn during_rotation_both_secrets_sign_and_then_only_the_new_one() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let app = TestApp::with(&[("one", &url, json!({}))]).await;
    app.apply(pipeline(&[("one", &url, json!({"shared_secret": {"value": "another-secret"}}))]))
        .await;
    app.track("during").await;
    let request = receiver.wait_for(1).await.swap_remove(0);
    assert_signed(&request, "another-secret");
    assert_eq!(request.header("webhook-signature").unwrap().split(' ').count(), 2);
    let old = SecretString::from(SECRET);
    let timestamp = request.header("webhook-timestamp").unwrap().parse().unwrap();
    let (id, signatures) =
        (request.header("webhook-id").unwrap(), request.header("webhook-signature").unwrap());
    assert!(verify_standard(&old, id, timestamp, &request.body, signatures));
    app.clock.advance(std::time::Duration::from_secs(25 * 3_600));
    app.app.duties.secrets.retire_secrets().await;
    app.track("after").await;
    let request = receiver.wait_for(2).await.swap_remove(1);
    assert_signed(&request, "another-secret");
    assert_eq!(request.header("webhook-signature").unwrap().split(' ').count(), 1);
}

#[tokio::test]
async fn x_signature_keeps_the_previous_secret_until_it_expires_or_the_new_one_is_made_primary() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let given = |secret: &str, more: Value| {
        let mut destination = json!({"shared_secret": {"value": secret}});
        for (name, value) in more.as_object().unwrap() {
            destination[name] = value.clone();
        }
        pipeline(&[("one", &url, destination)])
    };
    let app = TestApp::with(&[("one", &url, json!({}))]).await;
    let signed_by = async |name: &str, count: usize| {
        app.track(name).await;
        let request = receiver.wait_for(count).await.swap_remove(count - 1);
        let x = request.header("x-signature").unwrap().to_owned();
        let by =
            |secret: &&str| verify_x_signature(&SecretString::from(*secret), &request.body, &x);
        let signatures = request.header("webhook-signature").unwrap().split(' ').count();
        let secret = [SECRET, "secret-two", "secret-three"].into_iter().find(|it| by(it));
        (secret.unwrap(), signatures)
    };
    app.apply(given("secret-two", json!({"x_signature": "previous"}))).await;
    assert_eq!(signed_by("kept", 1).await, (SECRET, 2));
    app.apply(given("secret-two", json!({}))).await;
    assert_eq!(signed_by("left out", 2).await, (SECRET, 2), "it stays as it was chosen");
    app.apply(given("secret-two", json!({"x_signature": "current"}))).await;
    assert_eq!(signed_by("primary", 3).await, ("secret-two", 2));

    app.apply(given("secret-three", json!({"x_signature": "previous"}))).await;
    assert_eq!(signed_by("kept again", 4).await, ("secret-two", 2));
    app.clock.advance(std::time::Duration::from_secs(25 * 3_600));
    app.app.duties.secrets.retire_secrets().await;
    assert_eq!(signed_by("expired", 5).await, ("secret-three", 1));
}

#[tokio::test]
async fn an_event_becomes_one_delivery_per_mapping_and_a_duplicate_none() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let (a, b) = (receiver.url("/a"), receiver.url("/b"));
    let app = TestApp::with(&[("one", &a, json!({})), ("two", &b, json!({}))]).await;
    app.track("fan-out").await;
    app.until_settled(2).await;
    app.track("fan-out").await;
    let event =
        json!({"event": "x", "userId": "u", "messageId": "z", "integrations": {"one": false}});
    assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    app.until_settled(3).await;
    let mut paths: Vec<_> = receiver.requests().into_iter().map(|it| it.path).collect();
    paths.sort();
    assert_eq!(paths, ["/a", "/b", "/b"]);
    let ledger = app.ledger().await;
    assert_eq!((ledger.events_accepted, ledger.events_duplicate), (2, 1));
}
