//! Functions in the delivery path, from intake to receiver.

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::{Reason, State};
use postrider::sender::verify_x_signature;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// One destination with one mapping that has this function.
fn with_function(url: &str, source: &str) -> Value {
    let mapping = json!({"name": "everything", "url": url, "function": {"source": source}});
    pipeline(&[("one", url, json!({"mappings": [mapping]}))])
}

async fn app(url: &str, source: &str) -> TestApp {
    let app = Builder::new().start().await;
    app.apply(with_function(url, source)).await;
    app
}

#[tokio::test]
async fn the_returned_event_is_sent_and_signed_and_console_output_is_recorded() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let source = "async function onTrack(event, settings) {\n  console.log('saw', event.event);\n  \
         return {event: event.event, 7: true, by: 'function'};\n}";
    let app = app(&receiver.url("/"), source).await;
    app.track("Bought").await;
    app.until_settled(1).await;
    let request = receiver.requests().swap_remove(0);
    assert_eq!(request.text(), r#"{"7":true,"event":"Bought","by":"function"}"#);
    let signature = request.header("x-signature").unwrap();
    assert!(verify_x_signature(&SecretString::from(SECRET), &request.body, signature));
    let delivery = app.delivery(0).await.delivery;
    assert_eq!(
        (delivery.state, delivery.last_outcome),
        (State::Delivered, Some(Outcome::Delivered))
    );
    let attempts = app.attempts(delivery.id).await;
    assert_eq!(attempts[0].made.console.as_deref(), Some("log: saw Bought\n"));
    let (_, list) = app.client.get("/api/v1/deliveries").await.unwrap();
    let id = list["items"][0]["id"].as_str().unwrap();
    let (_, shown) = app.client.get(&format!("/api/v1/deliveries/{id}")).await.unwrap();
    assert_eq!(shown["attempts"][0]["console"], "log: saw Bought\n");
    app.ledger().await;
}

#[tokio::test]
async fn dropped_events_are_discarded_and_counted() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let source =
        "function onTrack(e) { if (e.event === 'b') throw new DropEvent('not b'); return e }";
    let app = app(&receiver.url("/"), source).await;
    for name in ["a", "b", "c"] {
        app.track(name).await;
    }
    let identify = json!({"userId": "u", "messageId": "d"});
    assert_eq!(app.send("/v1/identify", &identify).await, StatusCode::OK);
    let rows = app.until_settled(4).await;
    let ends: Vec<_> =
        rows.iter().map(|row| (row.delivery.state, row.delivery.last_outcome.unwrap())).collect();
    let delivered = (State::Delivered, Outcome::Delivered);
    let dropped = (State::Discarded, Outcome::Dropped);
    assert_eq!(ends, [delivered, dropped, delivered, dropped]);
    assert_eq!(receiver.requests().len(), 2);
    let attempts = app.attempts(rows[1].delivery.id).await;
    let error = attempts[0].made.error.clone().unwrap();
    assert!(error.starts_with("DropEvent: not b (line 1, column "), "{error}");
    let attempts = app.attempts(rows[3].delivery.id).await;
    let error = attempts[0].made.error.as_deref();
    assert_eq!(error, Some("EventNotSupported: the function has no onIdentify"));
    let ledger = app.ledger().await;
    assert_eq!((ledger.delivered, ledger.discarded, ledger.dead), (2, 2, 0));
}

#[tokio::test]
async fn a_failed_function_makes_a_dead_letter_that_can_be_redriven() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let app = app(&url, "function onTrack(event) {\n  return event.nothing.here;\n}").await;
    app.track("refused").await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!((row.delivery.state, row.delivery.reason), (State::Dead, Some(Reason::Function)));
    let attempts = app.attempts(row.delivery.id).await;
    let made = &attempts[0].made;
    assert_eq!((made.outcome, made.status, made.body_sha256), (Outcome::Function, None, None));
    let error = made.error.clone().unwrap();
    assert!(error.starts_with("TypeError: ") && error.contains("(line 2, column "), "{error}");
    app.apply(with_function(&url, "function onTrack(event) { return event }")).await;
    let redrive = json!({"filter": {"reason": "function"}});
    let (status, answer) = app.client.post("/api/v1/redrives", &redrive).await.unwrap();
    assert!(status.is_success(), "{answer}");
    app.until(|rows| rows[0].delivery.state == State::Delivered).await;
    assert_eq!(receiver.requests().len(), 1);
    app.ledger().await;
}

#[tokio::test]
async fn retry_errors_and_timeouts_are_retried() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let app = Builder::new()
        .functions(|options| options.timeout = std::time::Duration::from_secs(3))
        .start()
        .await;
    app.apply(with_function(&url, "function onTrack() { throw new RetryError('later') }")).await;
    app.track("patient").await;
    let row = app.until_tried(0, 1).await.delivery;
    assert_eq!((row.state, row.last_outcome), (State::Pending, Some(Outcome::FunctionRetry)));
    // A function that hangs while loading is refused when saved; this one hangs when called.
    app.apply(with_function(&url, "function onTrack() { for (;;); }")).await;
    app.advance_to_due().await;
    let row = app.until_tried(0, 2).await.delivery;
    assert_eq!((row.state, row.last_outcome), (State::Pending, Some(Outcome::FunctionTimeout)));
    app.apply(with_function(&url, "function onTrack(event) { return event }")).await;
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0).delivery;
    assert_eq!((row.state, row.tried), (State::Delivered, 3));
    app.ledger().await;
}

#[tokio::test]
async fn a_hanging_function_delays_no_other_mapping() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let mapping = |name: &str, source: &str| json!({"name": name, "url": url, "function": {"source": source}});
    let mappings = json!({"max_in_flight": 16, "mappings": [
        mapping("hangs", "function onTrack() { for (;;); }"),
        mapping("works", "function onTrack(event) { return event }"),
        {"name": "plain", "url": url},
    ]});
    let app = Builder::new()
        .settings(|settings| settings.function_workers = 2)
        .functions(|options| options.timeout = std::time::Duration::from_secs(20))
        .start()
        .await;
    app.apply(pipeline(&[("one", &url, mappings)])).await;
    for number in 0..20 {
        app.track(&format!("event-{number}")).await;
    }
    let delivered = |rows: &[postrider::store::DeliveryRow]| {
        rows.iter().filter(|row| row.delivery.state == State::Delivered).count() == 40
    };
    app.until(delivered).await;
    assert_eq!(receiver.requests().len(), 40);
}
