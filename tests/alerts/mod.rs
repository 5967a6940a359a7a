//! Alerts: raised once, told once, through an ordinary destination, over restarts. The clock is moved.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::alert::{Alert, AlertKind};
use postrider::domain::delivery::State;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver};

/// Where alerts go.
const PAGER: &str = "operations/pager";

/// A source with a destination to be watched, and one for what is told of it.
fn document(watched: &Receiver, pager: &Receiver) -> Value {
    let destination = |name: &str, url: String| {
        json!({"name": name, "shared_secret": {"value": SECRET},
               "mappings": [{"name": "everything", "url": url}]})
    };
    json!({"sources": [
        {"name": "website", "write_key": {"value": WRITE_KEY},
         "destinations": [destination("one", watched.url("/"))]},
        {"name": "operations", "write_key": {"value": "another-write-key"},
         "destinations": [destination("pager", pager.url("/")),
                          destination("other", pager.url("/other"))]},
    ]})
}

fn telling(builder: Builder, to: &'static str) -> Builder {
    builder.settings(move |settings| {
        settings.alert_destination = Some(to.parse().unwrap());
        settings.alert_dead_letters_per_hour = 5;
    })
}

async fn start(watched: &Receiver, pager: &Receiver) -> TestApp {
    let app = telling(Builder::new(), PAGER).start().await;
    app.apply(document(watched, pager)).await;
    app
}

async fn look(app: &TestApp) {
    app.app.duties.clone().evaluate_alerts().await.unwrap();
}

/// What the pager was sent, once it was so much.
async fn told(pager: &Receiver, count: usize) -> Vec<Value> {
    pager.wait_for(count).await;
    let requests = pager.requests();
    assert!(requests.iter().all(|it| it.path == "/" && it.header("x-signature").is_some()));
    requests.iter().map(|it| serde_json::from_str(it.text()).unwrap()).collect()
}

#[tokio::test]
async fn a_circuit_that_opens_and_closes_is_told_once_each_over_a_restart() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.open_circuit(&watched).await;
    look(&app).await;
    look(&app).await;
    let raised = told(&pager, 1).await.swap_remove(0);
    assert_eq!((&raised["type"], &raised["event"]), (&json!("track"), &json!("Alert Raised")));
    let about = &raised["properties"];
    assert_eq!(about["alert"], "circuit_open");
    assert_eq!(about["subject"], "website/one/everything");
    assert_eq!((&about["cleared_at"], &about["node"]), (&Value::Null, &json!("postrider")));
    app.until(|rows| rows.last().is_some_and(|it| it.delivery.state == State::Delivered)).await;
    let scrape = app.app.metrics.encode(&app.app.store.ledger());
    assert!(scrape.contains("postrider_alerts{alert=\"circuit_open\"} 1"), "{scrape}");
    assert!(scrape.contains("postrider_alerts_raised_total{alert=\"circuit_open\"} 1"));
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status["alerts"][0]["subject"], "website/one/everything");
    // Circuits are closed by a restart; the alert is not raised again, and is over after a while.
    let (dir, clock) = app.stop().await;
    let app = telling(Builder::after(dir, Arc::clone(&clock)), PAGER).start().await;
    look(&app).await;
    assert_eq!(pager.requests().len(), 1);
    clock.advance(Duration::from_secs(60));
    look(&app).await;
    let cleared = told(&pager, 2).await.swap_remove(1);
    assert_eq!(cleared["event"], "Alert Cleared");
    assert_eq!(cleared["properties"]["raised_at"], about["raised_at"]);
    assert!(cleared["properties"]["cleared_at"].is_string());
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.ledger().await;
}

#[tokio::test]
async fn an_alert_about_its_own_destination_is_not_told_through_it() {
    let watched = Receiver::start(Behaviour::ok()).await;
    let app = telling(Builder::new(), "website/one").start().await;
    app.apply(document(&watched, &watched)).await;
    app.open_circuit(&watched).await;
    look(&app).await;
    let kept = app.app.store.alerts().await.unwrap();
    assert_eq!((kept.len(), kept[0].kind, kept[0].told), (1, AlertKind::CircuitOpen, true));
    assert_eq!(app.deliveries().await.len(), 10, "the ten that opened it");
}

#[tokio::test]
async fn dead_letters_above_the_rate_are_told() {
    let (watched, pager) =
        (Receiver::start(Behaviour::status(410)).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    for number in 0..4 {
        app.track(&format!("dies-{number}")).await;
    }
    app.until_settled(4).await;
    app.app.duties.clone().roll_up().await.unwrap();
    look(&app).await;
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.track("dies-4").await;
    app.until_settled(5).await;
    app.app.duties.clone().roll_up().await.unwrap();
    look(&app).await;
    let raised = told(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "dead_letters");
    assert_eq!(raised["properties"]["subject"], "website/one");
    assert_eq!(raised["properties"]["detail"], "5 deliveries died within an hour");
}

#[tokio::test]
async fn a_window_that_runs_out_is_told_before_its_end() {
    let slow = Behaviour::status(503).header("retry-after", "13000");
    let (watched, pager) = (Receiver::start(slow).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.track("late").await;
    app.until_tried(0, 1).await;
    look(&app).await;
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.advance_to_due().await;
    let row = app.until_tried(0, 2).await;
    assert_eq!(row.delivery.state, State::Pending, "it is not over yet");
    look(&app).await;
    let raised = told(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "window_closing");
    assert_eq!(raised["properties"]["subject"], "website/one");
}

#[tokio::test]
async fn a_destination_that_fails_is_told() {
    let (watched, pager) =
        (Receiver::start(Behaviour::status(500)).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    for number in 0..20 {
        app.track(&format!("fails-{number}")).await;
    }
    app.until(|rows| rows.iter().all(|it| it.delivery.tried == 1)).await;
    app.app.duties.clone().roll_up().await.unwrap();
    look(&app).await;
    let raised = told(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "destination_failing");
    assert_eq!(raised["properties"]["detail"], "20 of 20 attempts failed within ten minutes");
}

#[tokio::test]
async fn what_was_told_before_a_crash_is_a_duplicate_after_it() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.open_circuit(&watched).await;
    look(&app).await;
    told(&pager, 1).await;
    // As if the process had died after its event was accepted and before that was kept.
    let kept = app.app.store.alerts().await.unwrap().swap_remove(0);
    app.app.store.put_alert(Alert { told: false, ..kept }).await.unwrap();
    let (dir, clock) = app.stop().await;
    let app = telling(Builder::after(dir, clock), PAGER).start().await;
    look(&app).await;
    assert_eq!(app.app.store.ledger().events_duplicate, 1);
    assert!(app.app.store.alerts().await.unwrap()[0].told);
    assert_eq!(pager.requests().len(), 1);
}

#[tokio::test]
async fn an_alert_waits_for_a_destination_that_is_not_there_yet() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = telling(Builder::new(), "operations/none").start().await;
    app.apply(document(&watched, &pager)).await;
    app.open_circuit(&watched).await;
    look(&app).await;
    assert!(!app.app.store.alerts().await.unwrap()[0].told);
    let mut document = document(&watched, &pager);
    document["sources"][1]["destinations"][0]["name"] = json!("none");
    app.apply(document).await;
    look(&app).await;
    assert_eq!(told(&pager, 1).await[0]["properties"]["alert"], "circuit_open");
}
