//! Several events in one call of a worker, and deliveries that wait for one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::State;
use postrider::domain::id::MappingId;
use postrider::functions::FunctionPool;
use serde_json::{Value, json};

use super::worker::{kill, until_gone, workers};
use super::{function, pool, track};
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// The field `calls` of each returned event, or the outcome; none without a turn.
async fn called(
    pool: &FunctionPool,
    source: &str,
    names: &[&str],
) -> Vec<Option<Result<Value, Outcome>>> {
    let events: Vec<_> = names.iter().map(|name| track(name)).collect();
    let slot = pool.try_slot(MappingId(1)).unwrap();
    let runs = pool.run_each(&slot, &function(source), &events).await;
    let event = |bytes: bytes::Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
    runs.into_iter()
        .map(|run| {
            run.map(|run| run.event.map(|it| event(it)["calls"].take()).map_err(|it| it.outcome))
        })
        .collect()
}

const COUNTS: &str = "let calls = 0; function onTrack(e) { calls++; \
     if (e.event === 'fails') throw new Error('no'); \
     if (e.event === 'drops') throw new DropEvent('no'); \
     if (e.event === 'hangs') for (;;); \
     if (e.event === 'grows') { const all = []; for (;;) all.push(new Array(1000).fill(1)) } \
     e.calls = calls; return e }";

#[tokio::test]
async fn an_error_or_a_timeout_in_a_call_of_several_events_is_the_events_own() {
    let pool = pool(|options| options.timeout = Duration::from_secs(3));
    let names = ["a", "drops", "b", "fails", "c", "hangs", "d", "grows", "e", "f"];
    let ran = called(&pool, COUNTS, &names).await;
    let good = |calls: u32| Some(Ok(json!(calls)));
    assert_eq!(
        ran,
        [
            good(1),
            Some(Err(Outcome::Dropped)),
            good(3),
            Some(Err(Outcome::Function)),
            // After an error, a time-out or a function that ran out of memory, the next has a new engine.
            good(1),
            Some(Err(Outcome::FunctionTimeout)),
            good(1),
            Some(Err(Outcome::Function)),
            good(1),
            good(2),
        ]
    );
}

#[tokio::test]
async fn an_event_whose_turn_did_not_come_has_no_result() {
    let limit = Duration::from_secs(3);
    let pool = pool(|options| (options.timeout, options.run_timeout) = (limit, limit));
    let ran = called(&pool, COUNTS, &["hangs", "a", "b"]).await;
    assert_eq!(ran, [Some(Err(Outcome::FunctionTimeout)), None, None]);
}

#[tokio::test]
async fn the_console_output_of_each_event_of_a_call_is_its_own() {
    let pool = pool(|_| {});
    let source = "function onTrack(e) { console.log(e.event); return e }";
    let slot = pool.try_slot(MappingId(1)).unwrap();
    let runs = pool.run_each(&slot, &function(source), &[track("a"), track("b")]).await;
    let console: Vec<_> = runs.into_iter().map(|run| run.unwrap().console.unwrap()).collect();
    assert_eq!(console, ["log: a\n", "log: b\n"]);
}

fn with_function(url: &str, source: &str) -> Value {
    let mapping = json!({"name": "everything", "url": url, "function": {"source": source}});
    pipeline(&[("one", url, json!({"mappings": [mapping]}))])
}

async fn track_all(app: &TestApp, count: usize) {
    let event = |number| json!({"type": "track", "event": "a", "userId": "u", "messageId": format!("m{number}")});
    let batch: Vec<_> = (0..count).map(event).collect();
    assert_eq!(app.send("/v1/batch", &json!({"batch": batch})).await, StatusCode::OK);
}

#[tokio::test]
async fn a_wait_for_a_function_worker_is_no_attempt() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let slow = "function onTrack(e) { const until = Date.now() + 12; while (Date.now() < until); return e }";
    let app = Builder::new()
        // With several events waiting, most of them wait longer than this.
        .functions(|options| options.queue_timeout = Duration::from_millis(20))
        .start()
        .await;
    // The check of the function waits for a worker as well.
    app.apply(with_function(&url, slow)).await;
    track_all(&app, 100).await;
    let rows = app.until_settled(100).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.tried == 1), "each was sent at its first attempt");
    assert_eq!(receiver.requests().len(), 100);
    assert_eq!(app.app.dispatcher.open_circuits(), []);
    app.ledger().await;
}

#[tokio::test]
async fn deliveries_that_fail_in_a_call_with_others_are_recorded_for_themselves() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let source = "function onTrack(e) { const n = Number(e.messageId.slice(1)); \
         if (n % 10 === 3) throw new Error('no'); if (n % 10 === 5) throw new DropEvent('no'); \
         return e }";
    let app = Builder::new().start().await;
    app.apply(with_function(&url, source)).await;
    track_all(&app, 100).await;
    app.until_settled(100).await;
    let ledger = app.ledger().await;
    assert_eq!((ledger.delivered, ledger.dead, ledger.discarded), (80, 10, 10));
    assert_eq!(receiver.requests().len(), 80);
}

/// A program that is a worker without a sandbox while `broken` exists, and the real one afterwards.
fn worker_without_sandbox(folder: &Path) -> std::path::PathBuf {
    let message = r#"{"Unavailable":"the sandbox of functions cannot be set up: seccomp: no"}"#;
    let script = format!(
        "#!/bin/sh\nif [ -e {0}/broken ]; then printf '\\{1:03o}\\000\\000\\000%s' '{message}'; \
         else exec {2} \"$@\"; fi\n",
        folder.display(),
        message.len(),
        env!("CARGO_BIN_EXE_postrider"),
    );
    let path = folder.join("worker");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_set_up_is_shown_and_costs_no_attempt() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let url = receiver.url("/");
    let folder = tempfile::TempDir::new().unwrap();
    let executable = worker_without_sandbox(folder.path());
    let app = Builder::new().functions(|options| options.executable = executable).start().await;
    app.apply(with_function(&url, "function onTrack(e) { return e }")).await;
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "").unwrap();
    let idle = workers();
    idle.iter().copied().for_each(kill);
    until_gone(&idle).await;
    app.track("waits").await;
    let shown =
        async || app.client.get("/api/v1/status").await.unwrap().1["functions_failure"].take();
    let why = "the sandbox of functions cannot be set up: seccomp: no";
    while shown().await != why {
        tokio::task::yield_now().await;
    }
    while app.delivery(0).await.delivery.state != State::Pending {
        tokio::task::yield_now().await;
    }
    let row = app.delivery(0).await;
    assert_eq!((row.delivery.tried, app.attempts(row.delivery.id).await.len()), (0, 0));
    let (_, findings) = app.client.post("/api/v1/doctor", &json!({})).await.unwrap();
    let finding = findings.as_array().unwrap().iter().find(|it| it["check"] == "functions");
    assert_eq!(*finding.unwrap(), json!({"check": "functions", "ok": false, "detail": why}));
    std::fs::remove_file(broken).unwrap();
    app.advance_to_due().await;
    let row = app.until_settled(1).await.swap_remove(0);
    assert_eq!((row.delivery.state, row.delivery.tried), (State::Delivered, 1));
    assert_eq!(shown().await, Value::Null);
}
