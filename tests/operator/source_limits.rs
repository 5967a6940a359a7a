//! The limits of a source: rate, burst and daily quota, enforced, shown, counted, alerted and kept.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use postrider::sender::ApiResponse;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, WRITE_KEY};

const DAY: Duration = Duration::from_secs(86_400);

fn document(limits: &Value) -> Value {
    let mut source = json!({
        "name": "website",
        "write_key": {"value": WRITE_KEY},
        "destinations": [{"name": "one", "shared_secret": {"value": SECRET}}],
    });
    for (name, value) in limits.as_object().unwrap() {
        source[name] = value.clone();
    }
    json!({"sources": [source]})
}

async fn limited(limits: Value) -> TestApp {
    let app = Builder::new().start().await;
    app.apply(document(&limits)).await;
    app
}

/// Sends a batch of events with messageIds that begin with `name`.
async fn send(app: &TestApp, name: &str, events: usize) -> ApiResponse {
    let event = |number| {
        json!({"type": "track", "event": "Sent", "userId": "u1",
               "messageId": format!("{name}-{number}")})
    };
    let batch: Vec<_> = (0..events).map(event).collect();
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, HeaderValue::from_static("Basic dGhlLXdyaXRlLWtleTo=")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ]);
    let body = json!({"batch": batch}).to_string().into();
    app.client.request(Method::POST, "/v1/batch", headers, body).await.unwrap()
}

/// Sends and expects a refusal with this code; when to retry, in seconds.
async fn refused(app: &TestApp, name: &str, events: usize, code: &str) -> u64 {
    let answer = send(app, name, events).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.json());
    assert_eq!((&answer.json()["success"], &answer.json()["code"]), (&json!(false), &json!(code)));
    let retry_after = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("retry in {retry_after} s")), "{message}");
    retry_after
}

async fn source(app: &TestApp) -> Value {
    app.client.get("/api/v1/sources/website").await.unwrap().1
}

#[tokio::test]
async fn a_source_with_a_rate_sends_its_burst_and_then_its_rate() {
    let app = limited(json!({"rate_per_second": 10, "burst": 20})).await;
    assert_eq!(send(&app, "a", 15).await.status, StatusCode::OK);
    assert_eq!(refused(&app, "b", 15, "rate_limited").await, 1);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(send(&app, "b", 15).await.status, StatusCode::OK);
    // An empty bucket refuses a request before its body is read.
    assert_eq!(refused(&app, "c", 1, "rate_limited").await, 1);
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(send(&app, "c", 100).await.status, StatusCode::OK, "more than the burst, alone");
    assert_eq!(refused(&app, "d", 1, "rate_limited").await, 9);
    assert_eq!(app.ledger().await.events_accepted, 130);
    app.stop().await;
}

#[tokio::test]
async fn a_source_with_a_daily_quota_sends_no_more_on_a_day_and_a_restart_forgets_nothing() {
    let app = limited(json!({"daily_quota": 10})).await;
    assert_eq!(send(&app, "a", 6).await.status, StatusCode::OK);
    // Duplicates are not accepted again, and do not count.
    assert_eq!(send(&app, "a", 4).await.status, StatusCode::OK);
    assert_eq!(source(&app).await["usage"]["events_today"], 6);
    let before_restart = refused(&app, "b", 5, "quota_exceeded").await;
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    assert_eq!(source(&app).await["usage"]["left_today"], 4);
    assert_eq!(refused(&app, "b", 5, "quota_exceeded").await, before_restart);
    assert_eq!(send(&app, "b", 4).await.status, StatusCode::OK);
    let until_midnight = Duration::from_secs(refused(&app, "c", 1, "quota_exceeded").await);
    assert!(until_midnight <= DAY, "{until_midnight:?}");
    app.clock.advance(until_midnight);
    assert_eq!(send(&app, "c", 10).await.status, StatusCode::OK, "a new day (UTC)");
    app.stop().await;
}

#[tokio::test]
async fn a_source_at_its_limits_is_shown_counted_and_alerted() {
    let app = limited(json!({"rate_per_second": 1, "daily_quota": 3})).await;
    assert_eq!(send(&app, "a", 1).await.status, StatusCode::OK);
    refused(&app, "b", 1, "rate_limited").await;
    app.clock.advance(Duration::from_secs(60));
    refused(&app, "c", 3, "quota_exceeded").await;
    let usage =
        json!({"events_today": 1, "left_today": 2, "refused_by_rate": 1, "refused_by_quota": 1});
    assert_eq!(source(&app).await["usage"], usage);
    let (_, listed) = app.client.get("/api/v1/sources").await.unwrap();
    assert_eq!(listed["items"][0]["usage"], usage);
    let metrics = app.app.metrics.encode(&app.ledger().await);
    for limit in ["rate", "quota"] {
        let line =
            format!("postrider_source_limited_total{{source=\"website\",limit=\"{limit}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
    app.app.duties.clone().evaluate_alerts().await.unwrap();
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status["limited_sources"][0]["source"], "website");
    assert_eq!(status["limited_sources"][0]["usage"], usage);
    let alert = &status["alerts"][0];
    assert_eq!((&alert["alert"], &alert["subject"]), (&json!("source_limited"), &json!("website")));
    let detail = alert["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "refused: 1 requests exceed 1 events a second, 1 requests exceed 3 events a day"
    );
    // Calm for long enough.
    app.clock.advance(Duration::from_secs(301));
    app.app.duties.clone().evaluate_alerts().await.unwrap();
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status["alerts"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn limits_are_part_of_the_pipeline_document() {
    let app = limited(json!({"rate_per_second": 10, "burst": 20, "daily_quota": 1_000})).await;
    let (_, exported) = app.client.get("/api/v1/pipeline").await.unwrap();
    let shown = &exported["sources"][0];
    assert_eq!(
        (&shown["rate_per_second"], &shown["burst"], &shown["daily_quota"]),
        (&json!(10), &json!(20), &json!(1_000))
    );
    let plan = |limits: Value| {
        let request = json!({"document": document(&limits), "dry_run": true});
        let client = &app.client;
        async move { client.post("/api/v1/pipeline", &request).await.unwrap().1 }
    };
    let same = plan(json!({"rate_per_second": 10, "burst": 20, "daily_quota": 1_000})).await;
    assert_eq!(same["lines"], json!([]), "{same}");
    let other = plan(json!({"rate_per_second": 5})).await.to_string();
    for expected in ["rate_per_second: 10 → 5", "burst: 20 → none", "daily_quota: 1000 → none"]
    {
        assert!(other.contains(expected), "{expected} in {other}");
    }
    for (limits, field) in [
        (json!({"rate_per_second": 0}), "rate_per_second"),
        (json!({"burst": 5}), "burst"),
        (json!({"daily_quota": 0}), "daily_quota"),
    ] {
        let faults = plan(limits).await["faults"].clone();
        assert_eq!(faults[0]["path"], format!("sources[0].{field}"), "{faults}");
    }
    // One source through its own resource; usage is read-only.
    let patch = json!({"daily_quota": null, "usage": {"events_today": 0}});
    let response = app
        .client
        .request(
            Method::PATCH,
            "/api/v1/sources/website",
            HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/merge-patch+json"),
            )]),
            patch.to_string().into(),
        )
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::OK, "{}", response.json());
    let shown = source(&app).await;
    assert_eq!((&shown["daily_quota"], &shown["rate_per_second"]), (&Value::Null, &json!(10)));
    app.stop().await;
}
