//! Backfills end to end: counted first, by the rules of acceptance, once, over restarts, shown with their event.

use http::StatusCode;
use postrider::domain::delivery::State;
use serde_json::{Value, json};

use crate::operator::commands::ask;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};
use crate::web::visitor::Visitor;

const SINCE: &str = "2020-01-01T00:00:00Z";

/// A service whose destination was disabled while events came.
async fn after_an_outage(receiver: &Receiver, events: usize) -> TestApp {
    let disabled = json!({"enabled": false});
    let app = TestApp::with(&[("crm", &receiver.url("/"), disabled)]).await;
    for number in 0..events {
        app.track(&format!("missed-{number}")).await;
    }
    let skipped = json!({"event": "Skipped", "userId": "u1", "integrations": {"crm": false}});
    assert_eq!(app.send("/v1/track", &skipped).await, StatusCode::OK);
    assert_eq!(
        app.send("/v1/page", &json!({"name": "Home", "userId": "u1"})).await,
        StatusCode::OK
    );
    let mut document = pipeline(&[("crm", &receiver.url("/"), json!({}))]);
    document["sources"][0]["destinations"][0]["mappings"][0]["trigger"] = json!("type = \"track\"");
    app.apply(document).await;
    assert_eq!(app.deliveries().await.len(), 0);
    app
}

async fn backfill(app: &TestApp, more: Value) -> (StatusCode, Value) {
    let mut request = json!({"mapping": "crm/everything", "since": SINCE});
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    app.client.post("/api/v1/backfills", &request).await.unwrap()
}

#[tokio::test]
async fn a_backfill_delivers_what_came_while_the_destination_was_disabled() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = after_an_outage(&receiver, 300).await;
    let (status, counted) = backfill(&app, json!({"dry_run": true})).await;
    assert_eq!(status, StatusCode::OK, "{counted}");
    assert_eq!((&counted["matched"], &counted["more"]), (&json!(300), &json!(false)));
    assert_eq!(app.deliveries().await.len(), 0, "a dry run makes none");
    let (status, job) = backfill(&app, json!({"note": "after the outage"})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!((&job["action"], &job["matched"]), (&json!("backfill"), &json!(300)));
    assert_eq!(job["filter"]["mapping"], "website/crm/everything");
    let rows = app.until_settled(300).await;
    assert!(rows.iter().all(|it| it.delivery.state == State::Delivered));
    receiver.wait_for(300).await;
    // Nothing is left to make.
    let (_, counted) = backfill(&app, json!({"dry_run": true})).await;
    assert_eq!(counted["matched"], 0);
    let (_, counted) = backfill(&app, json!({"dry_run": true, "again": true})).await;
    assert_eq!(counted["matched"], 300);
    let (_, page) = app.client.get("/api/v1/audit?limit=10").await.unwrap();
    let actions: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert!(
        actions.contains(&&json!("backfill")) && actions.contains(&&json!("finish_job")),
        "{actions:?}"
    );
    let (_, explained) = app.client.get("/api/v1/events/missed-7/explain").await.unwrap();
    assert_eq!(explained["mappings"].as_array().unwrap().len(), 1);
    assert_eq!(explained["mappings"][0]["verdict"], "matched", "{explained}");
    let (_, jobs) = app.client.get("/api/v1/jobs").await.unwrap();
    assert_eq!(
        (&jobs["items"][0]["state"], &jobs["items"][0]["done"]),
        (&json!("done"), &json!(300))
    );
    let ledger = app.ledger().await;
    assert_eq!((ledger.accepted, ledger.delivered), (300, 300));
}

#[tokio::test]
async fn a_backfill_resumes_after_a_restart_and_makes_none_twice() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut app = after_an_outage(&receiver, 9).await;
    let (_, job) = backfill(&app, json!({"rate_per_second": 2})).await;
    app.until(|rows| rows.len() >= 2).await;
    for made in [4, 6, 8, 9] {
        let (dir, clock) = app.stop().await;
        clock.advance(std::time::Duration::from_secs(1));
        app = Builder::after(dir, clock).start().await;
        app.until(|rows| rows.len() >= made).await;
    }
    app.until_settled(9).await;
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    let ended = async {
        while app.client.get(&path).await.unwrap().1["state"] != "done" {
            app.clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.expect("it ends");
    let events: std::collections::BTreeSet<_> =
        app.deliveries().await.iter().map(|row| row.delivery.event_id).collect();
    assert_eq!(events.len(), 9);
    app.ledger().await;
}

#[tokio::test]
async fn a_backfill_of_a_paused_mapping_waits_with_it() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = after_an_outage(&receiver, 3).await;
    let mapping = "/api/v1/mappings/website/crm/everything";
    app.client.post(&format!("{mapping}/pause"), &json!({})).await.unwrap();
    backfill(&app, json!({})).await;
    let made = async {
        while app.deliveries().await.len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), made).await.expect("made");
    assert!(app.deliveries().await.iter().all(|row| row.delivery.state == State::Pending));
    app.client.post(&format!("{mapping}/resume"), &json!({})).await.unwrap();
    app.until_settled(3).await;
}

#[tokio::test]
async fn a_wrong_backfill_is_refused() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({"enabled": false}))]).await;
    let (status, answer) = backfill(&app, json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    for wrong in [
        json!({"mapping": "other"}),
        json!({"mapping": ""}),
        json!({"since": ""}),
        json!({"since": "yesterday"}),
        json!({"until": SINCE}),
        json!({"rate_per_second": 0}),
    ] {
        let (status, answer) = backfill(&app, wrong.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {answer}");
    }
}

#[tokio::test]
async fn the_command_line_and_the_pages_backfill() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = after_an_outage(&receiver, 4).await;
    let dry = ["backfill", "crm/everything", "--since", SINCE, "--dry-run"];
    let (code, out, err) = ask(&app, &dry).await;
    assert_eq!(
        (code, out.trim()),
        (0, "would make 4 deliveries for website/crm/everything"),
        "{err}"
    );
    let (code, _, _) = ask(&app, &dry[..4]).await;
    assert_eq!(code, 2, "it is to be confirmed");
    let (code, out, err) =
        ask(&app, &["backfill", "crm/everything", "--since", SINCE, "--yes"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("4 of 4 made"), "{out}");
    app.until_settled(4).await;

    let mut visitor = Visitor::signed_in(&app).await;
    let mapping = visitor.get("/sources/website/destinations/crm/mappings/everything").await.html;
    assert!(mapping.contains("/backfills/new?mapping=website"), "{mapping}");
    let form = format!("/backfills/new?mapping=website/crm/everything&since={SINCE}&again=true");
    let page = visitor.get(&form).await;
    assert!(page.html.contains("<strong>4</strong> events match"), "{}", page.html);
    let wrong = visitor.get("/backfills/new?mapping=website/crm/everything&since=soon").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let fields = [("mapping", "website/crm/everything"), ("since", SINCE), ("again", "true")];
    let answer = visitor.post("/backfills", &fields).await;
    assert!(answer.leads_to().starts_with("/jobs/job_"), "{}", answer.html);
    let rows = app.until_settled(8).await;
    assert!(rows.iter().all(|it| it.delivery.state == State::Delivered));
    let jobs = visitor.get("/jobs").await.html;
    assert!(jobs.contains("backfill"), "{jobs}");
}
