//! Delivery policy `any`: one success is enough for an event.

use std::time::Duration;

use postrider::domain::delivery::State;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver, by_request};

fn two_mappings(receiver: &Receiver, more: serde_json::Value) -> serde_json::Value {
    let mut settings = json!({"policy": "any", "mappings": [
        {"name": "first", "url": receiver.url("/first")},
        {"name": "second", "url": receiver.url("/second")},
    ]});
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}

#[tokio::test]
async fn one_success_ends_the_retries_of_the_other_mappings() {
    let receiver = Receiver::start(by_request(|it| {
        Behaviour::status(if it.path == "/first" { 503 } else { 200 })
    }))
    .await;
    let app = TestApp::with(&[("one", "", two_mappings(&receiver, json!({})))]).await;
    app.track("order").await;
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    let [first, second] = rows.as_slice() else { panic!("two deliveries") };
    assert_eq!(first.delivery.settled_by, Some(second.delivery.id));
    assert_eq!(second.delivery.settled_by, None);
    let sent = receiver.requests().len();
    for _ in 0..10 {
        app.clock.advance(Duration::from_secs(600));
        app.app.dispatcher.refresh().await.expect("the store answers");
    }
    // Another event's deliveries come after whatever could still have been sent of the first.
    app.track("another").await;
    app.until_settled(4).await;
    let again = receiver.requests().into_iter().skip(sent);
    assert!(again.into_iter().all(|it| it.text().contains("another")));
    app.ledger().await;
}

#[tokio::test]
async fn what_waits_in_hand_is_not_sent_after_another_success() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let one_at_a_time = two_mappings(&receiver, json!({"max_in_flight": 1}));
    let app = TestApp::with(&[("one", "", one_at_a_time)]).await;
    for number in 0..20 {
        app.track(&format!("event-{number}")).await;
    }
    let rows = app.until_settled(40).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert_eq!(rows.iter().filter(|row| row.delivery.settled_by.is_some()).count(), 20);
    assert_eq!(receiver.requests().len(), 20, "one request an event");
    app.ledger().await;
}

#[tokio::test]
async fn when_nobody_takes_it_each_mapping_is_retried_and_dies_on_its_own() {
    let receiver = Receiver::start(by_request(|it| {
        Behaviour::status(if it.path == "/first" { 410 } else { 503 })
    }))
    .await;
    let app = TestApp::with(&[("one", "", two_mappings(&receiver, json!({})))]).await;
    app.track("order").await;
    app.until_tried(0, 1).await;
    app.until_tried(1, 1).await;
    receiver.set_script(by_request(|_| Behaviour::ok()));
    app.advance_to_due().await;
    let rows = app.until_settled(2).await;
    let states = rows.iter().map(|row| row.delivery.state).collect::<Vec<_>>();
    assert_eq!(states, [State::Dead, State::Delivered], "what is dead stays dead");
    app.ledger().await;
}
