//! One endpoint's trouble stays its own.

use std::time::Duration;

use postrider::domain::delivery::State;
use postrider::store::DeliveryRow;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver, by_request};

#[tokio::test]
async fn a_hanging_endpoint_does_not_delay_another_mapping_of_the_same_destination() {
    let receiver = Receiver::start(by_request(|it| {
        if it.path == "/hangs" { Behaviour::hang() } else { Behaviour::ok() }
    }))
    .await;
    let mappings = json!({"max_in_flight": 4, "timeout_ms": 30_000, "mappings": [
        {"name": "hangs", "url": receiver.url("/hangs")},
        {"name": "works", "url": receiver.url("/works")},
    ]});
    let app = TestApp::with(&[("one", "", mappings)]).await;
    for number in 0..50 {
        app.track(&format!("event-{number}")).await;
    }
    let delivered = |rows: &[postrider::store::DeliveryRow]| {
        rows.iter().filter(|row| row.delivery.state == State::Delivered).count() == 50
    };
    app.until(delivered).await;
    let hanging = receiver.requests().iter().filter(|it| it.path == "/hangs").count();
    assert_eq!(hanging, 3, "all places but the one that is the other mapping's");
}

#[tokio::test]
async fn an_open_circuit_spends_no_attempts_and_closes_with_the_first_success() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.open_circuit(&receiver).await;
    receiver.set_script(Behaviour::close());
    for number in 0..40 {
        app.track(&format!("waits-{number}")).await;
    }
    let untried = app.deliveries().await.iter().filter(|it| it.delivery.token == 0).count();
    assert_eq!(untried, 40);
    // A failed probe leaves it open.
    app.clock.advance(Duration::from_secs(1));
    receiver.wait_for(11).await;
    // Recorded, not only leased: its wait for the next probe begins when it has ended.
    app.until(|rows| rows.iter().map(|it| it.delivery.tried).sum::<u32>() == 11).await;
    assert_eq!(app.app.dispatcher.open_circuits().len(), 1);
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(2));
    // Those that opened it were asked to wait.
    app.until(|rows| rows.iter().filter(|it| it.delivery.settled_at.is_some()).count() == 40).await;
    app.clock.advance(Duration::from_secs(600));
    let settled = app.until_settled(50).await;
    assert!(settled.iter().all(|it| it.delivery.state == State::Delivered));
    assert_eq!(app.app.dispatcher.open_circuits(), []);
    app.ledger().await;
}

#[tokio::test]
async fn a_burst_of_failures_does_not_open_the_circuit() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    for number in 0..30 {
        app.track(&format!("burst-{number}")).await;
    }
    app.until(|rows| rows.iter().all(|it| it.delivery.tried == 1)).await;
    assert_eq!(app.app.dispatcher.open_circuits(), []);
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(1));
    let settled = app.until_settled(30).await;
    assert!(settled.iter().all(|it| it.delivery.token == 2), "each by its second attempt");
}

#[tokio::test]
async fn a_rate_limit_spaces_the_requests() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({"rate_per_second": 2}))]).await;
    for number in 0..5 {
        app.track(&format!("event-{number}")).await;
    }
    receiver.wait_for(1).await;
    for sent in 1..5 {
        assert_eq!(receiver.requests().len(), sent);
        app.clock.advance(Duration::from_millis(500));
        receiver.wait_for(sent + 1).await;
    }
    app.until_settled(5).await;
}

#[tokio::test]
async fn what_waits_longer_than_its_lease_is_no_attempt() {
    const EVENTS: usize = 60;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({"rate_per_second": 1}))]).await;
    for number in 0..EVENTS {
        app.track(&format!("event-{number}")).await;
    }
    for sent in 1..=EVENTS {
        receiver.wait_for(sent).await;
        app.until(|rows| settled(rows) >= sent).await;
        assert_eq!(app.app.dispatcher.expire_leases().await.unwrap(), 0);
        app.clock.advance(Duration::from_secs(1));
    }
    let rows = app.until_settled(EVENTS).await;
    assert_eq!(receiver.requests().len(), EVENTS, "each once");
    for row in rows {
        assert_eq!(row.delivery.state, State::Delivered);
        assert_eq!(app.attempts(row.delivery.id).await.len(), 1);
    }
    app.ledger().await;
}

fn settled(rows: &[DeliveryRow]) -> usize {
    rows.iter().filter(|row| row.delivery.settled_at.is_some()).count()
}

#[tokio::test]
async fn stopping_lets_attempts_end_and_gives_back_what_only_waits() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({"rate_per_second": 1}))]).await;
    for number in 0..5 {
        app.track(&format!("event-{number}")).await;
    }
    receiver.wait_for(1).await;
    let (dir, clock) = app.stop().await;
    let app = crate::support::app::Builder::after(dir, clock).start().await;
    for sent in 1..5 {
        receiver.wait_for(sent).await;
        app.clock.advance(Duration::from_secs(1));
    }
    let rows = app.until_settled(5).await;
    assert_eq!(receiver.requests().len(), 5, "each once");
    for row in rows {
        assert_eq!(
            app.attempts(row.delivery.id).await.len(),
            1,
            "a lease given back is no attempt"
        );
    }
    app.ledger().await;
}
