//! Schemathesis against the admin API: valid and invalid requests generated from its OpenAPI description.
//! `make schemathesis` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// The folder of this test with its settings and the installed packages.
fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis"))
}

/// A service with one object of each kind.
async fn service(receiver: &Receiver) -> TestApp {
    let app = Builder::new().settings(|it| it.api_requests_per_minute = 1_000_000).start().await;
    app.apply(pipeline(&[("crm", &receiver.url("/"), json!({}))])).await;
    app.track("one").await;
    app.until_settled(1).await;
    app
}

/// Writes the OpenAPI description to a file. For the stateful phase it has no
/// `Idempotency-Key`: a repeated key would replay the response for an object that was removed since.
async fn description(app: &TestApp, phases: &str) -> PathBuf {
    let (_, mut document) = app.client.get("/openapi.json").await.unwrap();
    if phases == "stateful" {
        let paths = document["paths"].as_object_mut().unwrap().values_mut();
        for operation in paths.flat_map(|item| item.as_object_mut().unwrap().values_mut()) {
            if let Some(parameters) = operation["parameters"].as_array_mut() {
                parameters.retain(|parameter| parameter["name"] != "Idempotency-Key");
            }
        }
    }
    let file = app.dir.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    file
}

/// Runs schemathesis with this token.
async fn finds_nothing(app: &TestApp, token: &str, phases: &str) {
    let program = folder().join(".venv/bin/schemathesis");
    assert!(program.exists(), "install it: tests/schemathesis/install, or make test");
    let mut command = Command::new(program);
    command
        .current_dir(app.dir.path())
        .arg("--config-file")
        .arg(folder().join("schemathesis.toml"))
        .arg("run")
        .arg(description(app, phases).await)
        .arg("--url")
        .arg(app.base())
        .args(["--checks", "all", "--phases", phases])
        // Streams do not end, and the OAuth callback is not part of the API.
        .args(["--exclude-path-regex", "/stream$|^/oauth/"])
        .args(["--header", &format!("Authorization: Bearer {token}")]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = service(&receiver).await;
    let token = app.token();
    finds_nothing(&app, &token, "examples,coverage,fuzzing").await;
    finds_nothing(&app, &token, "stateful").await;
    app.stop().await;
}

/// Requests that a role or scope forbids are refused as described.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_with_fewer_rights() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = service(&receiver).await;
    for request in [
        json!({"name": "looks", "role": "viewer"}),
        json!({"name": "limited", "role": "admin", "destinations": ["website/other"]}),
    ] {
        let (status, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
        assert_eq!(status, 201, "{made}");
        finds_nothing(&app, made["secret"].as_str().unwrap(), "examples,coverage").await;
    }
    app.stop().await;
}
