//! Alerts: raised once, cleared once, delivered through an ordinary destination, kept across restarts. The
//! clock is simulated.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::alert::{Alert, AlertKind};
use postrider::domain::delivery::State;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver, by_request};
use crate::support::statistics::sums;

/// The alert destination.
const PAGER: &str = "operations/pager";

/// A source whose destination is monitored, and one with the alert destination.
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

fn with_alerts(builder: Builder, to: &'static str) -> Builder {
    builder.settings(move |settings| {
        settings.alert_destination = Some(to.parse().unwrap());
        settings.alert_dead_letters_per_hour = 5;
    })
}

async fn start(watched: &Receiver, pager: &Receiver) -> TestApp {
    let app = with_alerts(Builder::new(), PAGER).start().await;
    app.apply(document(watched, pager)).await;
    app
}

async fn evaluate(app: &TestApp) {
    app.app.duties.clone().evaluate_alerts().await.unwrap();
}

/// The alert events that the pager received, once there are `count`.
async fn alerts_received(pager: &Receiver, count: usize) -> Vec<Value> {
    pager.wait_for(count).await;
    let requests = pager.requests();
    assert!(requests.iter().all(|it| it.path == "/" && it.header("x-signature").is_some()));
    requests.iter().map(|it| serde_json::from_str(it.text()).unwrap()).collect()
}

#[tokio::test]
async fn an_open_circuit_raises_and_clears_one_alert_across_a_restart() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.open_circuit(&watched).await;
    evaluate(&app).await;
    evaluate(&app).await;
    let raised = alerts_received(&pager, 1).await.swap_remove(0);
    assert_eq!((&raised["type"], &raised["event"]), (&json!("track"), &json!("Alert Raised")));
    let about = &raised["properties"];
    assert_eq!(about["alert"], "circuit_open");
    assert_eq!(about["subject"], "website/one/everything");
    assert_eq!((&about["cleared_at"], &about["node"]), (&Value::Null, &json!("postrider")));
    app.until(|rows| rows.last().is_some_and(|it| it.delivery.state == State::Delivered)).await;
    let scrape = app.app.metrics.encode(&app.app.store.ledger().await.unwrap());
    assert!(scrape.contains("postrider_alerts{alert=\"circuit_open\"} 1"), "{scrape}");
    assert!(scrape.contains("postrider_alerts_raised_total{alert=\"circuit_open\"} 1"));
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status["alerts"][0]["subject"], "website/one/everything");
    // A restart closes circuits: the alert is not raised again, and is cleared after its calm period.
    let (dir, clock) = app.stop().await;
    let app = with_alerts(Builder::after(dir, Arc::clone(&clock)), PAGER).start().await;
    evaluate(&app).await;
    assert_eq!(pager.requests().len(), 1);
    clock.advance(Duration::from_secs(60));
    evaluate(&app).await;
    let cleared = alerts_received(&pager, 2).await.swap_remove(1);
    assert_eq!(cleared["event"], "Alert Cleared");
    assert_eq!(cleared["properties"]["raised_at"], about["raised_at"]);
    assert!(cleared["properties"]["cleared_at"].is_string());
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.ledger().await;
}

#[tokio::test]
async fn an_alert_about_the_alert_destination_is_not_sent_to_it() {
    let watched = Receiver::start(Behaviour::ok()).await;
    let app = with_alerts(Builder::new(), "website/one").start().await;
    app.apply(document(&watched, &watched)).await;
    app.open_circuit(&watched).await;
    evaluate(&app).await;
    let kept = app.app.store.alerts().await.unwrap();
    assert_eq!((kept.len(), kept[0].kind, kept[0].published), (1, AlertKind::CircuitOpen, true));
    assert_eq!(app.deliveries().await.len(), 10, "the ten that opened the circuit");
}

#[tokio::test]
async fn dead_letters_above_the_threshold_raise_an_alert() {
    let (watched, pager) =
        (Receiver::start(Behaviour::status(410)).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    for number in 0..4 {
        app.track(&format!("dies-{number}")).await;
    }
    app.until_settled(4).await;
    app.app.duties.clone().roll_up().await.unwrap();
    evaluate(&app).await;
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.track("dies-4").await;
    app.until_settled(5).await;
    app.app.duties.clone().roll_up().await.unwrap();
    evaluate(&app).await;
    let raised = alerts_received(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "dead_letters");
    assert_eq!(raised["properties"]["subject"], "website/one");
    assert_eq!(raised["properties"]["detail"], "5 dead letters within an hour");
}

#[tokio::test]
async fn dead_letters_of_before_a_restart_count_towards_an_alert() {
    let (watched, pager) =
        (Receiver::start(Behaviour::status(410)).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    for number in 0..3 {
        app.track(&format!("dies-{number}")).await;
    }
    app.until_settled(3).await;
    app.app.duties.clone().roll_up().await.unwrap();
    for number in 3..5 {
        app.track(&format!("dies-{number}")).await;
    }
    app.until_settled(5).await;
    // Three are rolled up before the restart, two with it.
    let (dir, clock) = app.stop().await;
    let app = with_alerts(Builder::after(dir, clock), PAGER).start().await;
    evaluate(&app).await;
    evaluate(&app).await;
    let raised = alerts_received(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "dead_letters");
    assert_eq!(raised["properties"]["detail"], "5 dead letters within an hour");
}

#[tokio::test]
async fn deliveries_that_a_sibling_settled_and_dropped_events_are_no_failures() {
    let receiver = Receiver::start(by_request(|it| {
        Behaviour::status(if it.path == "/first" { 503 } else { 200 })
    }))
    .await;
    let mappings = json!({"policy": "any", "mappings": [
        {"name": "first", "url": receiver.url("/first")},
        {"name": "second", "url": receiver.url("/second")},
    ]});
    let app = with_alerts(Builder::new(), PAGER).start().await;
    app.apply(crate::support::app::pipeline(&[("one", "", mappings)])).await;
    for number in 0..20 {
        app.track(&format!("order-{number}")).await;
    }
    app.until_settled(40).await;
    app.app.duties.clone().roll_up().await.unwrap();
    for sum in sums(&*app.app.store).await {
        assert_eq!((sum.accepted, sum.delivered, sum.dead), (40, 40, 0));
        assert_eq!(sum.attempts - sum.failed, 20, "one request an event succeeded");
    }
    evaluate(&app).await;
    let raised = app.app.store.alerts().await.unwrap();
    assert!(raised.iter().all(|it| it.kind != AlertKind::DeadLetters), "{raised:?}");
    app.ledger().await;
}

#[tokio::test]
async fn a_closing_delivery_window_raises_an_alert() {
    let slow = Behaviour::status(503).header("retry-after", "13000");
    let (watched, pager) = (Receiver::start(slow).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.track("late").await;
    app.until_tried(0, 1).await;
    evaluate(&app).await;
    assert_eq!(app.app.store.alerts().await.unwrap(), []);
    app.advance_to_due().await;
    let row = app.until_tried(0, 2).await;
    assert_eq!(row.delivery.state, State::Pending, "the window is still open");
    evaluate(&app).await;
    let raised = alerts_received(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "window_closing");
    assert_eq!(raised["properties"]["subject"], "website/one");
}

#[tokio::test]
async fn a_failing_destination_raises_an_alert() {
    let (watched, pager) =
        (Receiver::start(Behaviour::status(500)).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    for number in 0..20 {
        app.track(&format!("fails-{number}")).await;
    }
    app.until(|rows| rows.iter().all(|it| it.delivery.tried == 1)).await;
    app.app.duties.clone().roll_up().await.unwrap();
    evaluate(&app).await;
    let raised = alerts_received(&pager, 1).await.swap_remove(0);
    assert_eq!(raised["properties"]["alert"], "destination_failing");
    assert_eq!(raised["properties"]["detail"], "20 of 20 attempts failed within ten minutes");
}

#[tokio::test]
async fn an_alert_published_before_a_crash_is_a_duplicate_after_it() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = start(&watched, &pager).await;
    app.open_circuit(&watched).await;
    evaluate(&app).await;
    alerts_received(&pager, 1).await;
    // As after a crash between the acceptance of the event and the record of its publication.
    let kept = app.app.store.alerts().await.unwrap().swap_remove(0);
    app.app.store.put_alert(Alert { published: false, ..kept }).await.unwrap();
    let (dir, clock) = app.stop().await;
    let app = with_alerts(Builder::after(dir, clock), PAGER).start().await;
    evaluate(&app).await;
    assert_eq!(app.app.store.ledger().await.unwrap().events_duplicate, 1);
    assert!(app.app.store.alerts().await.unwrap()[0].published);
    assert_eq!(pager.requests().len(), 1);
}

#[tokio::test]
async fn an_alert_waits_until_its_destination_exists() {
    let (watched, pager) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = with_alerts(Builder::new(), "operations/none").start().await;
    app.apply(document(&watched, &pager)).await;
    app.open_circuit(&watched).await;
    evaluate(&app).await;
    assert!(!app.app.store.alerts().await.unwrap()[0].published);
    let mut document = document(&watched, &pager);
    document["sources"][1]["destinations"][0]["name"] = json!("none");
    app.apply(document).await;
    evaluate(&app).await;
    assert_eq!(alerts_received(&pager, 1).await[0]["properties"]["alert"], "circuit_open");
}
