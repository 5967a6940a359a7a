//! Searches: beyond the rows of one query, by what events hold, by relative times.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::TestApp;

async fn get(app: &TestApp, path: &str) -> Value {
    let (status, body) = app.client.get(&format!("/api/v1{path}")).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// One query scans 10,000 events; what is searched for is behind more of them.
#[tokio::test]
async fn a_search_finds_what_is_behind_many_rows() {
    let app = TestApp::with(&[("one", "http://127.0.0.1:9/", json!({}))]).await;
    let (code, _, err) = ask(&app, &["pause", "website/one"]).await;
    assert_eq!(code, 0, "{err}");
    let wanted = json!({"event": "Wanted", "userId": "u5", "messageId": "wanted"});
    assert_eq!(app.send("/v1/track", &wanted).await, StatusCode::OK);
    let event = json!({"type": "track", "event": "Other", "userId": "u"});
    let batch = json!({"batch": vec![event; 2_100]});
    for _ in 0..5 {
        assert_eq!(app.send("/v1/batch", &batch).await, StatusCode::OK);
    }
    for list in ["events", "deliveries", "dead-letters"] {
        let found = get(&app, &format!("/{list}?user_id=u5")).await;
        let expected = usize::from(list != "dead-letters");
        assert_eq!(found["items"].as_array().unwrap().len(), expected, "{list}: {found}");
        assert_eq!(found["next"], Value::Null, "{list}: {found}");
    }
    let (code, out, err) = ask(&app, &["deliveries", "--user-id", "u5"]).await;
    assert!(code == 0 && out.contains("track Wanted"), "{out}{err}");
    let discard = ["discard", "--user-id", "u5", "--state", "pending", "--dry-run"];
    let (code, out, _) = ask(&app, &discard).await;
    assert!(code == 0 && out.starts_with("would discard 1 deliveries"), "{out}");
    let discard = ["discard", "--user-id", "u5", "--state", "pending", "--yes"];
    assert_eq!(ask(&app, &discard).await.0, 0);
    let found = get(&app, "/deliveries?user_id=u5").await;
    assert_eq!(found["items"][0]["state"], "discarded");
    app.stop().await;
}

#[tokio::test]
async fn events_are_found_by_what_they_hold() {
    let app = TestApp::with(&[]).await;
    for (name, more) in [
        ("one", json!({"userId": "ada", "properties": {"plan": "pro", "seats": 3}})),
        ("two", json!({"anonymousId": "a-7", "properties": {"plan": "free", "seats": 1}})),
        ("three", json!({"anonymousId": 7, "properties": {"plan": "pro", "seats": 9}})),
        ("four", json!({"properties": {"plan": "pro"}})),
    ] {
        let mut event = json!({"event": name, "messageId": name});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    }
    for (query, expected) in [
        ("where=properties.plan%20%3D%20%22pro%22", vec!["three", "one"]),
        ("where=properties.seats%20%3E%202&user_id=ada", vec!["one"]),
        ("where=properties.plan%20%3D%20%22pro%22&limit=1", vec!["three"]),
        ("anonymous_id=a-7", vec!["two"]),
        ("anonymous_id=7", vec!["three"]),
        ("rejected=true", vec!["four"]),
        ("rejected=true&where=properties.plan%20%3D%20%22pro%22", vec![]),
    ] {
        assert_eq!(names(&get(&app, &format!("/events?{query}")).await), expected, "{query}");
    }
    let first = get(&app, "/events?where=properties.plan%20%3D%20%22pro%22&limit=1").await;
    let next = first["next"].as_str().unwrap();
    let path = format!("/events?where=properties.plan%20%3D%20%22pro%22&limit=1&before={next}");
    assert_eq!(names(&get(&app, &path).await), ["one"]);
    let (status, problem) = app.client.get("/api/v1/events?where=plan%20%3D").await.unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["faults"][0]["path"], "where");
    let (code, out, _) = ask(&app, &["events", "--where", "properties.seats = 9", "--json"]).await;
    let page: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, names(&page)), (0, vec!["three"]));
    app.stop().await;
}

#[tokio::test]
async fn a_time_may_be_how_long_ago() {
    let app = TestApp::with(&[]).await;
    app.track("old").await;
    app.clock.advance(Duration::from_secs(3 * 3_600));
    app.track("new").await;
    assert_eq!(names(&get(&app, "/events?since=2h").await), ["new"]);
    assert_eq!(names(&get(&app, "/events?until=2h").await), ["old"]);
    assert_eq!(names(&get(&app, "/events?since=4h").await), ["new", "old"]);
    app.stop().await;
}

#[tokio::test]
async fn a_search_is_exported_whole_as_csv_and_as_json_lines() {
    let app = TestApp::with(&[]).await;
    let event = |number: usize| json!({"type": "track", "event": "a, \"b\"", "userId": format!("u{}", number % 2)});
    // More than an export reads at a time.
    let batch = json!({"batch": (0..1_300).map(event).collect::<Vec<_>>()});
    assert_eq!(app.send("/v1/batch", &batch).await, StatusCode::OK);
    let csv = ["export", "events", "--user-id", "u1"];
    let (code, out, err) = ask(&app, &csv).await;
    assert_eq!(code, 0, "{err}");
    let mut reader = csv::Reader::from_reader(out.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().nth(3), Some("name"));
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 650);
    assert!(rows.iter().all(|row| &row[3] == "a, \"b\"" && &row[4] == "u1"));
    let path = app.dir.path().join("events.jsonl");
    let path = path.to_str().unwrap();
    let lines = ["export", "events", "--user-id", "u0", "--format", "jsonl", "--output", path];
    let (code, _, err) = ask(&app, &lines).await;
    assert_eq!(code, 0, "{err}");
    let text = std::fs::read_to_string(path).unwrap();
    let ids: std::collections::BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((text.lines().count(), ids.len()), (650, 650));
    let (code, _, err) = ask(&app, &lines).await;
    assert!(code == 1 && err.contains("cannot create"), "a file is not overwritten: {err}");
    let (code, _, err) = ask(&app, &["export", "deliveries", "--status", "9"]).await;
    assert!(code == 2 && err.contains("status"), "{code} {err}");
    app.stop().await;
}
