//! A receiver that asks to wait: no further request goes to it until then, from any mapping of the
//! destination, and what was held back is spread out afterwards.

use std::time::Duration;

use postrider::domain::clock::Clock;
use postrider::domain::delivery::State;
use postrider::store::DeliveryRow;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

const MAPPING: &str = "/api/v1/mappings/website/one/everything";

fn delivered(rows: &[DeliveryRow]) -> usize {
    rows.iter().filter(|row| row.delivery.state == State::Delivered).count()
}

async fn status(app: &TestApp) -> Value {
    app.client.get("/api/v1/status").await.unwrap().1
}

/// Two mappings of one destination to the same receiver, and another destination.
async fn with_two_mappings(receiver: &Receiver, other: &Receiver) -> TestApp {
    let mut document =
        pipeline(&[("one", &receiver.url("/a"), json!({})), ("two", &other.url("/"), json!({}))]);
    let mappings = &mut document["sources"][0]["destinations"][0]["mappings"];
    mappings.as_array_mut().unwrap().push(json!({"name": "second", "url": receiver.url("/b")}));
    let app = Builder::new().start().await;
    app.apply(document).await;
    app
}

#[tokio::test]
async fn the_destination_waits_as_long_as_its_receiver_asks() {
    for code in [429, 503] {
        let receiver = Receiver::start(Behaviour::status(code).header("retry-after", "30")).await;
        let other = Receiver::start(Behaviour::ok()).await;
        let app = with_two_mappings(&receiver, &other).await;
        app.track("first").await;
        app.until(|rows| rows.iter().any(|it| it.delivery.last_status == Some(code))).await;
        let until = app.clock.now() + Duration::from_secs(30);
        for number in 0..200 {
            app.track(&format!("event-{number}")).await;
        }
        // The other destination has them all, and none came here but those that were under way.
        other.wait_for(201).await;
        let asked = receiver.requests().len();
        assert!((1..=2).contains(&asked), "{code}: {asked}");
        let told = status(&app).await;
        let waits = told["receiver_waits"].as_array().unwrap();
        assert_eq!(waits.len(), 2, "{told}");
        assert_eq!(waits[0], json!({"mapping": "website/one/everything", "until": until.to_iso()}));
        let (_, mapping) = app.client.get(MAPPING).await.unwrap();
        assert_eq!(mapping["wait_until"], until.to_iso());
        let rows = app.deliveries().await;
        assert!(
            rows.iter()
                .filter(|it| it.delivery.last_status.is_none())
                .all(|it| it.delivery.tried == 0)
        );
        app.ledger().await;
        app.stop().await;
    }
}

#[tokio::test]
async fn what_was_held_back_is_spread_after_the_wait() {
    let receiver = Receiver::start(Behaviour::status(429).header("retry-after", "30")).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    app.until_tried(0, 1).await;
    for number in 0..200 {
        app.track(&format!("event-{number}")).await;
    }
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(30));
    // The first request goes alone: if the receiver still refuses, only this one is refused.
    app.until(|rows| delivered(rows) == 1).await;
    let mut sent = vec![receiver.requests().len()];
    for _ in 0..80 {
        app.clock.advance(Duration::from_millis(100));
        app.app.dispatcher.refresh().await.unwrap();
        tokio::task::yield_now().await;
        sent.push(receiver.requests().len());
    }
    assert!(sent[10] < 20, "no herd in the first second: {sent:?}");
    // Without a limit once the slow start is over.
    app.clock.advance(Duration::from_secs(10));
    app.app.dispatcher.refresh().await.unwrap();
    let rows = app.until_settled(201).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows[1..].iter().all(|row| row.delivery.token <= 3), "waiting is no attempt");
    app.ledger().await;
}

#[tokio::test]
async fn an_operator_ends_the_wait() {
    let receiver = Receiver::start(Behaviour::status(503).header("retry-after", "3000")).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    app.until_tried(0, 1).await;
    app.track("second").await;
    receiver.set_script(Behaviour::ok());
    let (_, resumed) = app.client.post(&format!("{MAPPING}/resume"), &json!({})).await.unwrap();
    assert_eq!(resumed["changed"], true, "{resumed}");
    app.until(|rows| delivered(rows) == 1).await;
    assert_eq!(status(&app).await["receiver_waits"], json!([]));
    let (_, page) = app.client.get("/api/v1/audit?action=resume").await.unwrap();
    assert_eq!(page["items"][0]["subject"], "website/one/everything");
}

#[tokio::test]
async fn the_wait_goes_on_after_a_restart_and_is_capped() {
    let receiver = Receiver::start(Behaviour::status(429).header("retry-after", "999999")).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    app.until_tried(0, 1).await;
    let until = (app.clock.now() + Duration::from_secs(3_600)).to_iso();
    let stored = async {
        while app.app.store.pipeline().await.unwrap().receiver_waits.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.expect("stored");
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    app.track("second").await;
    assert_eq!(status(&app).await["receiver_waits"][0]["until"], until);
    assert_eq!(receiver.requests().len(), 1);
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(3_600));
    app.until(|rows| delivered(rows) == 1).await;
}

#[tokio::test]
async fn a_429_without_retry_after_delays_its_delivery_alone() {
    let receiver = Receiver::start(Behaviour::status(429)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("first").await;
    app.until_tried(0, 1).await;
    receiver.set_script(Behaviour::ok());
    app.track("second").await;
    app.until(|rows| delivered(rows) == 1).await;
    assert_eq!(status(&app).await["receiver_waits"], json!([]));
}
