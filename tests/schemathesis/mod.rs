//! The admin API against its own description, tried by schemathesis with what it allows and with
//! what it does not. `make schemathesis` installs it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// The folder of this test, with its settings and what `install` made.
fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis"))
}

/// A service with something of each noun.
async fn service(receiver: &Receiver) -> TestApp {
    let app = Builder::new().settings(|it| it.api_requests_per_minute = 1_000_000).start().await;
    app.apply(pipeline(&[("crm", &receiver.url("/"), json!({}))])).await;
    app.track("one").await;
    app.until_settled(1).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let program = folder().join(".venv/bin/schemathesis");
    assert!(program.exists(), "install it: tests/schemathesis/install, or make test");
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = service(&receiver).await;
    let token = std::fs::read_to_string(app.dir.path().join("postrider.token")).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(app.dir.path())
        .arg("--config-file")
        .arg(folder().join("schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", app.app.address))
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"])
        // A stream goes on for as long as it is listened to; and the way back of a browser from an
        // authorization server is no API.
        .args(["--exclude-path-regex", "/stream$|^/oauth/"])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    app.stop().await;
}
