//! A receiver that asks to wait: no further request goes to it until then, from any mapping of the
//! destination, and what was held back is spread out afterwards.

use std::time::Duration;

use postrider::domain::clock::Clock;
use postrider::domain::delivery::State;
use postrider::store::DeliveryRow;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver, in_turn};

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
async fn what_is_under_way_when_a_receiver_asks_to_wait_is_recorded_as_it_comes_back() {
    let gate = watch::Sender::new(0);
    let wait = |code: u16, seconds: &str| Behaviour::status(code).header("retry-after", seconds);
    let script = vec![
        wait(429, "60").at_gate(&gate, 1),
        Behaviour::status(200).at_gate(&gate, 2),
        Behaviour::status(500).at_gate(&gate, 2),
        Behaviour::status(400).at_gate(&gate, 2),
        // A shorter wait shortens nothing.
        wait(503, "5").at_gate(&gate, 2),
        Behaviour::ok(),
    ];
    let under_way = script.len() - 1;
    let receiver = Receiver::start(in_turn(script)).await;
    let other = Receiver::start(Behaviour::ok()).await;
    let destinations =
        [("one", &*receiver.url("/"), json!({})), ("two", &*other.url("/"), json!({}))];
    let app = TestApp::with(&destinations).await;
    for number in 0..under_way {
        app.track(&format!("early-{number}")).await;
        receiver.wait_for(number + 1).await;
    }
    let of_one = |rows: &[DeliveryRow]| -> Vec<_> {
        let first = rows.iter().map(|it| it.delivery.destination_id).min();
        let one = rows.iter().filter(|it| Some(it.delivery.destination_id) == first);
        let mut one: Vec<_> = one.cloned().collect();
        one.sort_unstable_by_key(|row| row.delivery.id);
        one
    };
    gate.send_replace(1);
    app.until(|rows| of_one(rows).iter().any(|it| it.delivery.last_status == Some(429))).await;
    let until = app.clock.service_now() + Duration::from_secs(60);
    for number in 0..20 {
        app.track(&format!("late-{number}")).await;
    }
    other.wait_for(under_way + 20).await;
    gate.send_replace(2);
    let tried = |rows: &[DeliveryRow]| {
        of_one(rows).iter().filter(|it| it.delivery.last_status.is_some()).count()
    };
    let rows = of_one(&app.until(|rows| tried(rows) == under_way).await);
    let early: Vec<_> = rows[..under_way]
        .iter()
        .map(|it| (it.delivery.last_status.unwrap(), it.delivery.state, it.delivery.tried))
        .collect();
    assert_eq!(
        early,
        [
            (429, State::Pending, 1),
            (200, State::Delivered, 1),
            (500, State::Pending, 1),
            (400, State::Dead, 1),
            (503, State::Pending, 1),
        ]
    );
    assert!(rows[under_way..].iter().all(|it| it.delivery.tried == 0), "they wait: {rows:#?}");
    assert_eq!(receiver.requests().len(), under_way, "no further request");
    let waits = status(&app).await["receiver_waits"].clone();
    assert_eq!(waits[0]["until"], app.clock.to_wall(until).to_iso(), "it is not shortened");
    app.clock.advance(Duration::from_secs(59));
    app.app.dispatcher.refresh().await.unwrap();
    assert_eq!(receiver.requests().len(), under_way);
    app.clock.advance(Duration::from_secs(20));
    app.app.dispatcher.refresh().await.unwrap();
    let rows = app.until_settled(2 * (under_way + 20)).await;
    let one = of_one(&rows);
    assert_eq!(delivered(&one), under_way + 20 - 1, "all but the rejected one");
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
