//! Logs: a refusal is logged with its cause; write keys and messages are never logged.

use std::io;
use std::sync::{Arc, Mutex};

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
    let unknown = Request::anonymous("/v1/track", body).header("authorization", "Bearer WRONG");
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
