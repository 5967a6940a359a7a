//! Redrives and discards through the API, run by the job runner.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::delivery::State;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};

async fn with_dead_letters(receiver: &Receiver, count: usize) -> TestApp {
    receiver.set_script(Behaviour::status(400));
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    for number in 0..count {
        app.track(&format!("event-{number}")).await;
    }
    app.until_settled(count).await;
    app
}

async fn post(app: &TestApp, path: &str, body: Value) -> Value {
    let (status, answer) = app.client.post(path, &body).await.unwrap();
    assert!(status.is_success(), "{status} {answer}");
    answer
}

#[tokio::test]
async fn a_redrive_delivers_under_the_same_id_in_a_fresh_window() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_dead_letters(&receiver, 3).await;
    let filter = json!({"filter": {"reason": "rejected"}, "dry_run": true});
    let preview = post(&app, "/api/v1/redrives", filter).await;
    assert_eq!(preview["matched"], 3);
    assert_eq!(app.until_settled(3).await.len(), 3, "a dry run changes nothing");
    receiver.set_script(Behaviour::ok());
    app.clock.advance(Duration::from_secs(6 * 3_600));
    let filter = json!({"filter": {"reason": "rejected"}, "note": "receiver mended"});
    let job = post(&app, "/api/v1/redrives", filter).await;
    let delivered = |rows: &[postrider::store::DeliveryRow]| {
        rows.iter().all(|row| row.delivery.state == State::Delivered)
    };
    app.until(delivered).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 6);
    for request in &requests[3..] {
        assert!(
            requests[..3].iter().any(|it| it.header("webhook-id") == request.header("webhook-id"))
        );
    }
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    let (status, job) = app.client.get(&path).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&job["done"], &job["note"], &job["actor"]),
        (&json!(3), &json!("receiver mended"), &json!("operator"))
    );
    app.ledger().await;
}

#[tokio::test]
async fn a_capped_redrive_survives_a_restart_half_way() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_dead_letters(&receiver, 6).await;
    receiver.set_script(Behaviour::ok());
    let request = json!({"filter": {"reason": "rejected"}, "rate_per_second": 2});
    post(&app, "/api/v1/redrives", request).await;
    receiver.wait_for(8).await;
    app.until(|rows| rows.iter().filter(|it| it.delivery.state == State::Delivered).count() == 2)
        .await;
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    for sent in [10, 12] {
        receiver.wait_for(sent).await;
        app.clock.advance(Duration::from_secs(1));
    }
    let rows = app.until_settled(6).await;
    assert!(rows.iter().all(|it| it.delivery.state == State::Delivered));
    assert_eq!(receiver.requests().len(), 12, "each once more");
    app.ledger().await;
}

#[tokio::test]
async fn a_discard_gives_up_dead_letters_for_good() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_dead_letters(&receiver, 2).await;
    let id = app.client.get("/api/v1/deliveries").await.unwrap().1["items"][0]["id"].clone();
    let mut recorded = app.app.dispatcher.recorded();
    recorded.mark_unchanged();
    let job = post(&app, "/api/v1/discards", json!({"ids": [id], "note": "test data"})).await;
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    while app.client.get(&path).await.unwrap().1["state"] != "done" {
        tokio::task::yield_now().await;
    }
    let states: Vec<_> = app.deliveries().await.iter().map(|it| it.delivery.state).collect();
    assert_eq!(states, [State::Dead, State::Discarded]);
    let ledger = app.ledger().await;
    assert_eq!((ledger.dead, ledger.discarded), (1, 1));
}
