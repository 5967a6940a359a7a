//! Inspectors: test receivers in the service that show requests, verify signatures and answer from a script.

use http::{HeaderMap, Method, StatusCode};
use postrider::domain::delivery::State;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::sse::Sse;

/// A service with inspectors, whose destination delivers to the inspector of this name.
async fn inspecting(name: &str) -> TestApp {
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    let url = format!("http://{}/inspect/{name}", app.app.address);
    app.apply(pipeline(&[("one", &url, json!({}))])).await;
    app
}

async fn put(app: &TestApp, path: &str, body: &Value) -> (StatusCode, Value) {
    app.client.put(path, body).await.unwrap()
}
async fn request(app: &TestApp, method: Method, path: &str, body: Vec<u8>) -> StatusCode {
    let body = body.into();
    app.client.request(method, path, HeaderMap::new(), body).await.unwrap().status
}

#[tokio::test]
async fn an_inspector_shows_requests_with_signature_verdicts() {
    let app = inspecting("orders").await;
    let token = app.dir.path().join("postrider.token");
    let path = "/api/v1/inspectors/orders/stream";
    let mut live = Sse::open(app.app.address, &token, path).await;
    app.track("Order Paid").await;
    app.until_settled(1).await;
    let (status, shown) = app.client.get("/api/v1/inspectors/orders").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(shown["url"], format!("http://{}/inspect/orders", app.app.address));
    let request = &shown["requests"][0];
    assert_eq!(request["x_signature"], "verified", "{request}");
    assert_eq!(request["webhook_signature"], "verified", "{request}");
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["event"], "Order Paid");
    let headers = request["headers"].as_str().unwrap();
    assert!(headers.contains("webhook-id: dlv_"), "{headers}");
    assert_eq!(live.message().await, *request, "the live stream has the same");
    let (_, all) = app.client.get("/api/v1/inspectors").await.unwrap();
    assert_eq!((&all[0]["name"], &all[0]["taken"]), (&json!("orders"), &json!(1)));
}

#[tokio::test]
async fn an_inspector_simulates_failures_from_its_script() {
    let app = inspecting("flaky").await;
    let answer = json!({"statuses": "503,200", "body": "come back"});
    let (status, set) = put(&app, "/api/v1/inspectors/flaky", &answer).await;
    assert_eq!(status, StatusCode::OK, "{set}");
    app.track("again").await;
    let row = app.until_tried(0, 1).await;
    assert_eq!((row.delivery.state, row.delivery.last_status), (State::Pending, Some(503)));
    let attempts = app.attempts(row.delivery.id).await;
    assert_eq!(&attempts[0].made.response_body[..], b"come back");
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!(row.delivery.state, State::Delivered);
    let (_, shown) = app.client.get("/api/v1/inspectors/flaky").await.unwrap();
    let tried: Vec<_> =
        shown["requests"].as_array().unwrap().iter().map(|it| &it["tried"]).collect();
    assert_eq!(tried, [&json!(2), &json!(1)]);
    let path = "/api/v1/inspectors/flaky";
    assert_eq!(request(&app, Method::DELETE, path, Vec::new()).await, StatusCode::NO_CONTENT);
    assert_eq!(request(&app, Method::DELETE, path, Vec::new()).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_invalid_answer_names_its_field() {
    let app = inspecting("any").await;
    for (answer, field) in [
        (json!({"statuses": "sometimes"}), "statuses"),
        (json!({"statuses": ""}), "statuses"),
        (json!({"delay_ms": 60_001}), "delay_ms"),
        (json!({"body": "x".repeat(4_097)}), "body"),
    ] {
        let (status, problem) = put(&app, "/api/v1/inspectors/any", &answer).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["faults"][0]["path"], field, "{problem}");
    }
    let (status, problem) = put(&app, "/api/v1/inspectors/NO", &json!({})).await;
    assert_eq!(
        (status, &problem["faults"][0]["path"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("name"))
    );
}

#[tokio::test]
async fn requests_that_an_inspector_refuses_are_not_kept() {
    let app = inspecting("any").await;
    let long = vec![b'x'; 5 * 1024 * 1024 + 1];
    let refused = [
        (Method::GET, "/inspect/any", Vec::new(), StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/inspect/NO", Vec::new(), StatusCode::NOT_FOUND),
        (Method::POST, "/inspect/%3Cscript%3E", Vec::new(), StatusCode::NOT_FOUND),
        (Method::POST, "/inspect/any", long, StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (method, path, body, expected) in refused {
        assert_eq!(request(&app, method, path, body).await, expected, "{path}");
    }
    let (_, shown) = app.client.get("/api/v1/inspectors/any").await.unwrap();
    assert_eq!(shown["taken"], 0);
    for path in ["/inspect/any", "/inspect/any/below/it?a=1"] {
        let body = b"\xff<script>".to_vec();
        assert_eq!(request(&app, Method::PUT, path, body).await, StatusCode::OK);
    }
    let (_, shown) = app.client.get("/api/v1/inspectors/any").await.unwrap();
    let newest = &shown["requests"][0];
    assert_eq!(
        (&newest["path"], &newest["body"]),
        (&json!("/inspect/any/below/it?a=1"), &json!("\u{fffd}<script>"))
    );
    assert_eq!(newest["x_signature"], "absent");
    assert!(newest["headers"].as_str().unwrap().contains("authorization: ***"), "{newest}");
}

#[tokio::test]
async fn inspectors_are_disabled_by_default() {
    let app = TestApp::with(&[]).await;
    for path in ["/api/v1/inspectors", "/api/v1/inspectors/any", "/api/v1/inspectors/any/stream"] {
        let (status, problem) = app.client.get(path).await.unwrap();
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(problem["detail"].as_str().unwrap().contains("inspector = true"), "{problem}");
    }
    assert_eq!(
        request(&app, Method::POST, "/inspect/any", Vec::new()).await,
        StatusCode::NOT_FOUND
    );
}
