//! Traces: what a sender says of its trace reaches the receivers, over retries and restarts, and nothing
//! is added where it says nothing.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Received, Receiver};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn send(app: &TestApp, path: &str, body: &Value, headers: &[(&'static str, &'static str)]) {
    let mut all = HeaderMap::from_iter([(
        header::AUTHORIZATION,
        HeaderValue::from_static("Basic dGhlLXdyaXRlLWtleTo="),
    )]);
    for (name, value) in headers {
        all.append(*name, HeaderValue::from_static(value));
    }
    let answer = app.client.post_bytes(path, all, body.to_string().into()).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

fn event(message_id: &str) -> Value {
    json!({"event": "Traced", "userId": "u1", "messageId": message_id})
}

/// The span's id, after the trace was looked at.
fn span(request: &Received) -> String {
    let parts: Vec<_> = request.header("traceparent").unwrap().split('-').collect();
    assert_eq!([parts[0], parts[1], parts[3]], ["00", TRACE, "01"]);
    parts[2].to_owned()
}

#[tokio::test]
async fn a_trace_reaches_the_receiver_with_a_span_for_each_attempt_over_a_restart() {
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let given = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")];
    send(&app, "/v1/track", &event("m1"), &given).await;
    app.until_tried(0, 1).await;
    app.advance_to_due().await;
    app.until_tried(0, 2).await;
    let (dir, clock) = app.stop().await;
    receiver.set_script(Behaviour::ok());
    let app = Builder::after(dir, Arc::clone(&clock)).start().await;
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0);
    let requests = receiver.requests();
    let spans: Vec<_> = requests.iter().map(span).collect();
    assert_eq!(spans.len(), 3);
    assert_ne!(spans[0], spans[1]);
    assert!(!spans.contains(&"00f067aa0ba902b7".to_owned()), "a child, not the parent again");
    assert!(requests.iter().all(|it| it.header("tracestate") == Some("a=1,b=2")));
    // It is on record with the attempt.
    let attempts = app.attempts(row.delivery.id).await;
    for (attempt, span) in attempts.iter().zip(&spans) {
        assert!(attempt.made.request_headers.contains(&format!("{TRACE}-{span}-01")));
    }
    let (_, rows) = app.client.get("/api/v1/deliveries").await.unwrap();
    let id = rows["items"][0]["id"].as_str().unwrap();
    let (_, shown) = app.client.get(&format!("/api/v1/deliveries/{id}")).await.unwrap();
    assert_eq!(shown["attempts"][0]["traceparent"], format!("00-{TRACE}-{}-01", spans[0]));
}

#[tokio::test]
async fn without_a_trace_nothing_is_added_and_what_is_none_is_left_out() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    send(&app, "/v1/track", &event("m1"), &[]).await;
    send(&app, "/v1/track", &event("m2"), &[("traceparent", "00-0-0-01"), ("tracestate", "a=1")])
        .await;
    send(&app, "/v1/track", &event("m3"), &[("tracestate", "a=1")]).await;
    app.until_settled(3).await;
    for request in receiver.requests() {
        assert_eq!((request.header("traceparent"), request.header("tracestate")), (None, None));
    }
    let (_, rows) = app.client.get("/api/v1/deliveries").await.unwrap();
    let id = rows["items"][0]["id"].as_str().unwrap();
    let (_, shown) = app.client.get(&format!("/api/v1/deliveries/{id}")).await.unwrap();
    assert!(shown["attempts"][0].get("traceparent").is_none());
}

#[tokio::test]
async fn a_batch_is_part_of_the_trace_that_all_its_events_share() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mapping = json!({"mappings": [{
        "name": "batched", "url": receiver.url("/"), "batching": {"size": 2, "linger_ms": 60_000},
    }]});
    let app = TestApp::with(&[("one", "", mapping)]).await;
    let pair = |one: &str, other: &str| {
        let of = |id: &str| json!({"type": "track", "event": "E", "userId": "u", "messageId": id});
        json!({"batch": [of(one), of(other)]})
    };
    send(&app, "/v1/batch", &pair("a", "b"), &[("traceparent", PARENT)]).await;
    app.until_settled(2).await;
    send(&app, "/v1/track", &event("c"), &[("traceparent", PARENT)]).await;
    send(&app, "/v1/track", &event("d"), &[]).await;
    app.until_settled(4).await;
    let requests = receiver.requests();
    span(&requests[0]);
    assert_eq!(requests[1].header("traceparent"), None, "its events are not of the same trace");
}

/// Holds requests against OpenTelemetry's own definitions.
fn conform(requests: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics");
    let mut reading = Command::new(folder.join(".venv/bin/python"))
        .arg(folder.join("spans.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("OpenTelemetry's definitions, as tests/metrics/install sets them up");
    let mut input = reading.stdin.take().unwrap();
    requests.iter().for_each(|request| writeln!(input, "{request}").unwrap());
    drop(input);
    assert!(reading.wait().unwrap().success(), "{requests:#?}");
}

/// The spans that a collector was told.
fn spans(collector: &Receiver) -> Vec<Value> {
    let requests = collector.requests();
    assert!(requests.iter().all(|it| it.path == "/v1/traces"));
    conform(&requests.iter().map(|it| it.text()).collect::<Vec<_>>());
    let bodies = requests.iter().map(|it| serde_json::from_str::<Value>(it.text()).unwrap());
    bodies
        .flat_map(|it| {
            it["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().unwrap()
        })
        .collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span["name"] == name).unwrap()
}

async fn telling(endpoint: String, receiver: &Receiver) -> TestApp {
    let app = Builder::new().settings(|it| it.otlp_endpoint = Some(endpoint)).start().await;
    app.apply(pipeline(&[("one", &receiver.url("/"), json!({}))])).await;
    app
}

#[tokio::test]
async fn with_a_collector_each_request_and_each_attempt_is_a_span_of_one_trace() {
    let collector = Receiver::start(Behaviour::ok()).await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = telling(collector.url(""), &receiver).await;
    send(&app, "/v1/track", &event("m1"), &[]).await;
    app.until_settled(1).await;
    // What waits is told before the service has stopped.
    app.stop().await;
    let spans = spans(&collector);
    let (accept, deliver) = (named(&spans, "accept"), named(&spans, "deliver"));
    assert_eq!((spans.len(), &accept["kind"], &deliver["kind"]), (2, &json!(2), &json!(3)));
    assert_eq!(accept.get("parentSpanId"), None, "the trace begins here");
    assert_eq!(deliver["parentSpanId"], accept["spanId"]);
    assert_eq!(deliver["traceId"], accept["traceId"]);
    assert!(deliver.get("status").is_none());
    let (trace, span) = (deliver["traceId"].as_str().unwrap(), deliver["spanId"].as_str().unwrap());
    let sent = receiver.requests()[0].header("traceparent").unwrap().to_owned();
    assert_eq!(sent, format!("00-{trace}-{span}-01"));
    let facts = deliver["attributes"].to_string();
    assert!(facts.contains("website/one/everything") && facts.contains("dlv_"), "{facts}");
}

#[tokio::test]
async fn a_trace_that_came_goes_on_and_one_that_is_not_recorded_is_not_told() {
    let collector = Receiver::start(Behaviour::ok()).await;
    let receiver = Receiver::start(Behaviour::status(410)).await;
    let app = telling(collector.url(""), &receiver).await;
    send(&app, "/v1/track", &event("m1"), &[("traceparent", PARENT)]).await;
    let unrecorded = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    send(&app, "/v1/track", &event("m2"), &[("traceparent", unrecorded)]).await;
    app.until_settled(2).await;
    app.stop().await;
    let spans = spans(&collector);
    assert_eq!(spans.len(), 2);
    assert_eq!(named(&spans, "accept")["parentSpanId"], "00f067aa0ba902b7");
    let deliver = named(&spans, "deliver");
    assert_eq!((&deliver["traceId"], &deliver["status"]["code"]), (&json!(TRACE), &json!(2)));
    let told = receiver.requests();
    assert!(told.iter().any(|it| it.header("traceparent").is_some_and(|it| it.ends_with("-00"))));
}

#[tokio::test]
async fn a_collector_that_is_down_delays_nothing_and_what_it_missed_is_counted() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = telling(endpoint, &receiver).await;
    app.track("m1").await;
    app.until_settled(1).await;
    let (metrics, ledger) = (Arc::clone(&app.app.metrics), app.app.store.ledger().await.unwrap());
    app.stop().await;
    let scrape = metrics.encode(&ledger);
    assert!(scrape.contains("postrider_spans_lost_total 2"), "{scrape}");
}
