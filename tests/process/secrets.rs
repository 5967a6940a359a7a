//! Secrets: never in plain text in a file other than the key and token files, in a log line or in an API
//! response.

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::service::Service;
use crate::support::app::{SECRET, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn no_secret_is_in_plain_text_in_files_logs_or_responses() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"trace\"");
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
    assert_eq!(service.source().track("one").await, Some(StatusCode::OK));
    receiver.wait_for(1).await;
    let client = service.client();
    let mut shown = String::new();
    for path in ["pipeline", "events", "deliveries", "status", "jobs"] {
        let (status, answer) = client.get(&format!("/api/v1/{path}")).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}");
        shown.push_str(&answer.to_string());
    }
    let (_, page) = client.get("/api/v1/deliveries").await.unwrap();
    let path = format!("/api/v1/deliveries/{}", page["items"][0]["id"].as_str().unwrap());
    service
        .until("its attempt is recorded", async |_| {
            let (_, delivery) = client.get(&path).await.unwrap();
            delivery.to_string().contains("webhook-signature")
        })
        .await;
    shown.push_str(&client.get(&path).await.unwrap().1.to_string());
    assert!(shown.contains("webhook-signature"), "the attempt is shown");
    let token = std::fs::read_to_string(dir.path().join("postrider.db.token")).unwrap();
    let secrets = [SECRET, WRITE_KEY, token.trim()];
    for secret in secrets {
        assert!(!shown.contains(secret), "shown by the API");
    }
    // Killed, so that the WAL is not truncated by the checkpoint at shutdown.
    service.kill();
    let mut checked = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "token" || it == "key") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "in plain text in {}", path.display());
        }
        checked += 1;
    }
    assert!(checked >= 4, "database, WAL, settings and log");
}
