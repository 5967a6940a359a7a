//! Jobs by filter: a job selects what a list with the same filter returns, in every interface.

use serde_json::{Value, json};

use super::commands::ask;
use crate::auth::with_role;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// Dead letters of two destinations, two users, two names and two types.
async fn with_dead_letters() -> TestApp {
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let gone = Receiver::start(Behaviour::status(404)).await;
    let app = TestApp::with(&[
        ("crm", &refusing.url("/"), json!({})),
        ("billing", &gone.url("/"), json!({})),
    ])
    .await;
    for number in 0..4 {
        let user = if number % 2 == 0 { "even" } else { "odd" };
        let event = json!({
            "event": if number < 3 { "Order Completed" } else { "Trial Started" },
            "userId": user, "messageId": format!("m-{number}"),
        });
        assert_eq!(app.send("/v1/track", &event).await, 200);
    }
    assert_eq!(app.send("/v1/page", &json!({"name": "Home", "userId": "even"})).await, 200);
    app.until_settled(10).await;
    app
}

async fn listed(app: &TestApp, conditions: &[(&str, &str)]) -> Vec<Value> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(conditions).append_pair("state", "dead");
    let (status, page) =
        app.client.get(&format!("/api/v1/deliveries?{}", query.finish())).await.unwrap();
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_job_selects_what_a_list_with_its_filter_returns() {
    let app = with_dead_letters().await;
    let event = listed(&app, &[]).await[0]["event_id"].as_str().unwrap().to_owned();
    let now = postrider::domain::clock::Clock::now(&*app.clock).to_iso();
    for conditions in [
        &[][..],
        &[("source", "website")],
        &[("destination", "crm")],
        &[("mapping", "website/billing/everything")],
        &[("type", "page")],
        &[("name", "Order Completed")],
        &[("user_id", "odd")],
        &[("message_id", "m-2")],
        &[("event", &event)],
        &[("outcome", "rejected")],
        &[("outcome", "dns")],
        &[("status", "404")],
        &[("status", "4xx")],
        &[("status", "5xx")],
        &[("since", &now)],
        &[("until", &now)],
        &[("user_id", "even"), ("destination", "crm"), ("status", "4xx"), ("type", "track")],
    ] {
        let shown = listed(&app, conditions).await;
        let mut filter: serde_json::Map<_, _> =
            conditions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        filter.insert("state".to_owned(), json!("dead"));
        for path in ["/api/v1/redrives", "/api/v1/discards"] {
            let request = json!({"filter": filter, "dry_run": true});
            let (status, preview) = app.client.post(path, &request).await.unwrap();
            assert_eq!(status, 200, "{conditions:?}: {preview}");
            assert_eq!(preview["matched"], shown.len(), "{path} {conditions:?}");
            let ids = |items: &[Value]| items.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
            let mut first = ids(preview["sample"].as_array().unwrap());
            first.reverse();
            assert_eq!(first, ids(&shown), "{path} {conditions:?}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_job_returns_its_filter_as_requested() {
    let app = with_dead_letters().await;
    let event = listed(&app, &[]).await[0]["event_id"].clone();
    let filter = json!({
        "state": "dead", "reason": "rejected", "source": "website",
        "destination": "website/crm", "mapping": "website/crm/everything", "type": "track",
        "name": "Order Completed", "user_id": "even", "message_id": "m-0", "event": event,
        "outcome": "rejected", "status": "4xx", "since": "2026-01-01T00:00:00.000Z",
        "until": "2100-01-01T00:00:00.000Z",
    });
    let (status, job) = app
        .client
        .post("/api/v1/discards", &json!({"filter": filter, "note": "a test"}))
        .await
        .unwrap();
    assert_eq!((status.as_u16(), &job["filter"]), (202, &filter), "{job}");
    assert_eq!(
        (&job["matched"], &job["more"], &job["named"]),
        (&json!(0), &json!(false), &json!(0))
    );
    app.stop().await;
}

#[tokio::test]
async fn jobs_of_a_scoped_token_reach_only_its_destinations() {
    let app = with_dead_letters().await;
    let outside = listed(&app, &[("destination", "billing")]).await[0]["id"].clone();
    let limited = with_role(&app, "operator", &["website/crm"]).await;
    let all = json!({"filter": {"state": "dead"}, "dry_run": true});
    let (_, preview) = limited.post("/api/v1/redrives", &all).await.unwrap();
    assert_eq!(preview["matched"], 5, "{preview}");
    let (status, _) = limited.post("/api/v1/discards", &json!({"ids": [outside]})).await.unwrap();
    assert_eq!(status, 403);
    let (status, job) =
        limited.post("/api/v1/discards", &json!({"filter": {"state": "dead"}})).await.unwrap();
    assert_eq!((status.as_u16(), &job["matched"]), (202, &json!(5)), "{job}");
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    while limited.get(&path).await.unwrap().1["state"] != "done" {
        tokio::task::yield_now().await;
    }
    let ledger = app.ledger().await;
    assert_eq!((ledger.discarded, ledger.dead), (5, 5));
    app.stop().await;
}

#[tokio::test]
async fn jobs_are_paginated() {
    let app = with_dead_letters().await;
    let mut made = Vec::new();
    for (path, name) in [("redrives", "No 1"), ("discards", "No 2"), ("redrives", "No 3")] {
        let job = json!({"filter": {"name": name}});
        let (status, job) = app.client.post(&format!("/api/v1/{path}"), &job).await.unwrap();
        assert_eq!(status, 202, "{job}");
        made.insert(0, job["id"].clone());
    }
    let ids = async |path: &str| -> (Vec<Value>, Value) {
        let (status, page) = app.client.get(&format!("/api/v1/{path}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        (items.iter().map(|it| it["id"].clone()).collect(), page["next"].clone())
    };
    let (first, next) = ids("jobs?limit=2").await;
    assert_eq!((first, &next), (made[..2].to_vec(), &made[1]));
    let next = next.as_str().unwrap();
    assert_eq!(
        ids(&format!("jobs?limit=2&before={next}")).await,
        (made[2..].to_vec(), json!(null))
    );
    assert_eq!(ids("redrives").await.0, [made[0].clone(), made[2].clone()]);
    assert_eq!(ids("jobs?action=discard").await.0, made[1..2]);
    assert_eq!(ids("redrives?limit=1").await.1, made[0]);
    let (status, fault) = app.client.get("/api/v1/jobs?state=dead").await.unwrap();
    assert_eq!(status, 422, "{fault}");
    app.stop().await;
}

#[tokio::test]
async fn the_command_line_redrives_by_every_filter() {
    let app = with_dead_letters().await;
    for (flags, found) in [
        (&["--user-id", "odd"][..], 4),
        (&["--name", "Trial Started"], 2),
        (&["--message-id", "m-1", "--destination", "crm"], 1),
        (&["--status", "4xx", "--source", "website"], 10),
        (&["--status", "422"], 5),
        (&["--outcome", "timeout"], 0),
    ] {
        let command: Vec<_> = ["redrive", "--dry-run"].iter().chain(flags).copied().collect();
        let (code, stdout, stderr) = ask(&app, &command).await;
        assert_eq!(code, 0, "{stderr}");
        let told = format!("would redrive {found} deliveries");
        assert!(stdout.starts_with(&told), "{flags:?}: {stdout}");
    }
    let (code, stdout, stderr) =
        ask(&app, &["discard", "--user-id", "odd", "--name", "Order Completed", "--yes"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("done: 2 of 2 discarded"), "{stdout}");
    assert_eq!(app.ledger().await.discarded, 2);
    app.stop().await;
}
