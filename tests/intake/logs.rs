//! Logs: a refusal is logged with its cause; write keys and messages are never logged.

use std::io;
use std::sync::{Arc, Mutex};

use postrider::domain::ledger::Ledger;
use tracing::level_filters::LevelFilter;

use super::client::Request;
use super::stage::{Failure, Stage};

/// Captured log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_contain_no_write_keys_and_no_messages() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // A current-thread runtime, so the server's tasks use this subscriber too.
    let _kept = tracing::subscriber::set_default(subscriber);
    let stage = Stage::new().await;
    let body = r#"{"writeKey":"KEY","userId":"PRIVATE","event":"PRIVATE"}"#;
    stage.send(&Request::anonymous("/v1/track?writeKey=KEY", body)).await.assert_success();
    stage.send(&Request::post("/v1/track", r#"{"event":"PRIVATE"}"#)).await.assert_success();
    let wrong = body.replace("KEY", "WRONG");
    let unknown = Request::anonymous("/v1/track", wrong).header("authorization", "Bearer WRONG");
    stage.send(&unknown).await.assert_refused(401, "write_key_unknown");
    let broken = r#"{"writeKey":"KEY","userId":"PRIVATE""#;
    stage.send(&Request::post("/v1/track", broken)).await.assert_refused(400, "invalid_json");
    stage.store.fail(Failure::Closed);
    stage.send(&Request::post("/v1/track", body)).await.assert_refused(503, "unavailable");

    let lines = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    for expected in
        ["refused", "write_key_unknown", "the store is closed", "kept as rejected", "web"]
    {
        assert!(lines.contains(expected), "{expected} in {lines}");
    }
    for secret in ["KEY", "WRONG", "PRIVATE", "S0VZ"] {
        assert!(!lines.contains(secret), "{secret} in {lines}");
    }
}

/// What is logged while `run` runs.
async fn logged(run: impl AsyncFnOnce(&Stage)) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _kept = tracing::subscriber::set_default(subscriber);
    run(&Stage::new().await).await;
    String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("UTF-8")
}

#[tokio::test]
async fn refusals_are_logged_by_rate_and_counted() {
    let log = logged(async |stage: &Stage| {
        let body = r#"{"userId":"u1","event":"x"}"#;
        for number in 0..50 {
            let key = format!("Bearer WRONG-{number}");
            let unknown = Request::anonymous("/v1/track", body).header("authorization", &key);
            stage.send(&unknown).await.assert_refused(401, "write_key_unknown");
        }
        let long = format!("/v1/{}", "x".repeat(5_000));
        stage.send(&Request::post(&long, body)).await.assert_refused(404, "not_found");
        stage.log_rate.summarize();
        let metrics = stage.metrics.encode(&Ledger::default());
        let failures = "postrider_authentication_failures_total{credential=\"write_key\"} 50";
        assert!(metrics.contains(failures), "{metrics}");
    })
    .await;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("no source has this write key"), 1, "{log}");
    assert_eq!(lines("authentication failed"), 1, "{log}");
    assert!(log.contains("127.0.0.1"), "the peer is named: {log}");
    assert_eq!(lines("further lines of this kind were not logged"), 2, "{log}");
    assert!(log.contains("kind=\"write_key_unknown\" count=49"), "{log}");
    assert!(!log.contains("WRONG"), "no value: {log}");
    assert!(log.lines().all(|line| line.len() < 500), "nothing at length: {log}");
}

#[tokio::test]
async fn connections_that_are_not_http_are_logged_by_rate_and_counted() {
    let log = logged(async |stage: &Stage| {
        let heads: [&[u8]; 3] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03SECRET\r\n\r\n",
            b"SECRET no http at all\r\n\r\n",
            b"\x00\x00\x00\r\n\r\n",
        ];
        for head in heads {
            stage.send_raw(head).await;
        }
        let large = format!("GET /v1/x HTTP/1.1\r\nx: {}\r\n\r\n", "SECRET".repeat(9_000));
        stage.send_raw(large.as_bytes()).await;
        let counted = |reason: &str, count: u32| {
            format!("postrider_connections_refused_total{{reason=\"{reason}\"}} {count}\n")
        };
        let metrics = stage.metrics.encode(&Ledger::default());
        assert!(metrics.contains(&counted("not_http", 3)), "{metrics}");
        assert!(metrics.contains(&counted("head_too_large", 1)), "{metrics}");
        stage.log_rate.summarize();
    })
    .await;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("connection refused"), 2, "{log}");
    assert!(log.contains("kind=\"not_http\" count=2"), "{log}");
    assert!(!log.contains("SECRET"), "{log}");
}
