//! What every request has: an id, a rate limit, problem details on error, and idempotency by key.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider::sender::ApiResponse;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};

async fn send(
    app: &TestApp,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> ApiResponse {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let body = Bytes::from(body.to_owned());
    app.client.request(method, path, headers, body).await.unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// A POST of a token of this name under a key.
async fn make(app: &TestApp, name: &str, key: &str) -> ApiResponse {
    let body = json!({"name": name, "role": "viewer"}).to_string();
    send(app, Method::POST, "/api/v1/tokens", &[JSON, ("idempotency-key", key)], &body).await
}

async fn names(app: &TestApp) -> Vec<String> {
    let (_, page) = app.client.get("/api/v1/tokens").await.unwrap();
    let items = page["items"].as_array().unwrap().clone();
    items.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_idempotency_key_holds_for_a_day_and_over_a_restart() {
    let app = Builder::new().start().await;
    let first = make(&app, "one", "k").await;
    assert_eq!(first.status, 201);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let (dir, clock) = app.stop().await;
    let secret = first.json()["secret"].as_str().unwrap().to_owned();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
        assert!(!found, "the token of a kept answer stands in clear");
    }
    let app = Builder::after(dir, clock).start().await;
    let again = make(&app, "one", "k").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(names(&app).await, ["one", "operator"]);
    // The key is this request's: another one is refused, another token's is its own.
    let other = make(&app, "two", "k").await;
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (422, &json!("idempotency_reused")));
    app.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
    assert_eq!(make(&app, "two", "k").await.status, 201);
}

#[tokio::test]
async fn a_failed_request_releases_its_idempotency_key() {
    let app = Builder::new().start().await;
    assert_eq!(make(&app, "no good", "k").await.status, 422);
    assert_eq!(make(&app, "operator", "k").await.status, 409);
    assert_eq!(make(&app, "good", "k").await.status, 201);
    assert_eq!(make(&app, "x", &"k".repeat(256)).await.status, 400);
}

#[tokio::test]
async fn concurrent_requests_with_one_idempotency_key_run_once() {
    let app = Builder::new().start().await;
    let all = futures_util::future::join_all((0..8).map(|_| make(&app, "one", "k"))).await;
    let made = all.iter().filter(|it| it.status == 201);
    assert!(made.clone().count() >= 1);
    let secrets: std::collections::BTreeSet<_> = made.map(|it| &it.body).collect();
    assert_eq!(secrets.len(), 1);
    for answer in all.iter().filter(|it| it.status != 201) {
        assert_eq!(answer.json()["code"], "idempotency_under_way", "{answer:?}");
    }
    assert_eq!(names(&app).await, ["one", "operator"]);
}

#[tokio::test]
async fn the_rate_limit_is_per_token_and_in_the_headers() {
    let app = Builder::new().settings(|it| it.api_requests_per_minute = 3).start().await;
    let ask = || send(&app, Method::GET, "/api/v1/status", &[], "");
    let first = ask().await;
    assert_eq!(first.headers["ratelimit-policy"], "\"token\";q=3;w=60");
    assert_eq!(first.headers["ratelimit"], "\"token\";r=2;t=60");
    let other = super::with_role(&app, "viewer", &[]).await;
    app.clock.advance(std::time::Duration::from_secs(20));
    assert_eq!(ask().await.status, 200);
    let refused = ask().await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["retry-after"]),
        (429, &HeaderValue::from_static("40"))
    );
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(other.get("/api/v1/status").await.unwrap().0, 200);
    app.clock.advance(std::time::Duration::from_secs(40));
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_request_id() {
    let app = Builder::new().start().await;
    let bad_token = ("authorization", "Bearer prt_wrong");
    let text = ("content-type", "text/plain");
    let (get, post) = (|| Method::GET, || Method::POST);
    let cases = [
        (get(), "/api/v1/nowhere", None, "", 404),
        (Method::DELETE, "/api/v1/status", None, "", 405),
        (get(), "/api/v1/status", Some(bad_token), "", 401),
        (post(), "/api/v1/tokens", None, "{}", 415),
        (post(), "/api/v1/tokens", Some(text), "{}", 415),
        (post(), "/api/v1/tokens", Some(JSON), "{", 400),
        (post(), "/api/v1/tokens", Some(JSON), "{\"name\":\"\",\"role\":\"\"}", 422),
        (get(), "/api/v1/jobs/%FF", None, "", 400),
        (get(), "/api/v1/audit/verification?kept=1&kept=2", None, "", 400),
    ];
    for (method, path, header, body, status) in cases {
        let given: Vec<_> = header.into_iter().chain([("x-request-id", "mine-1")]).collect();
        let answer = send(&app, method.clone(), path, &given, body).await;
        let problem = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {problem}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer.headers["x-request-id"], "mine-1");
        assert_eq!(problem["instance"], "urn:postrider:request:mine-1");
        assert_eq!(problem["status"], status);
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn audit_entries_have_the_request_id() {
    let app = Builder::new().start().await;
    let body = json!({"name": "t", "role": "viewer"}).to_string();
    let made =
        send(&app, Method::POST, "/api/v1/tokens", &[JSON, ("x-request-id", "not ok")], &body)
            .await;
    let id = made.headers["x-request-id"].to_str().unwrap().to_owned();
    assert!(id.starts_with("req_"), "{id}");
    let (_, page) = app.client.get("/api/v1/audit?limit=1").await.unwrap();
    assert_eq!(page["items"][0]["request_id"], Value::from(id));
}
