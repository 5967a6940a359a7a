//! `events --follow` shows events as they are accepted, over a restart of the service.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::service::{PATIENCE, Service};

/// The next line as JSON; meanwhile events are sent, since nothing says when the command is connected.
async fn next(service: &Service, lines: &mut UnboundedReceiver<String>, name: &str) -> Value {
    let source = service.source();
    let received = async {
        for number in 0.. {
            source.track(&format!("{name}-{number}")).await;
            let line = tokio::time::timeout(Duration::from_millis(100), lines.recv()).await;
            if let Ok(line) = line {
                return serde_json::from_str(&line.expect("the command goes on")).expect("JSON");
            }
        }
        Value::Null
    };
    tokio::time::timeout(PATIENCE, received).await.expect("an event is shown")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_over_a_restart_that_is_told() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.start().await;
    service.apply(&[]).await;
    let mut follow = service.verb(&["--json", "events", "--follow", "--source", "website"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (sender, mut lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let shown = next(&service, &mut lines, "before").await;
    assert!(shown["message_id"].as_str().unwrap().starts_with("before-"), "{shown}");
    service.kill();
    service.start().await;
    // Whatever was shown before the kill, then what it cannot know, then what is new.
    let mut shown = next(&service, &mut lines, "after").await;
    while shown["message_id"].as_str().is_some_and(|id| id.starts_with("before-")) {
        shown = next(&service, &mut lines, "after").await;
    }
    assert_eq!(shown, json!({"missed": "unknown"}));
    let shown = next(&service, &mut lines, "later").await;
    assert!(!shown["message_id"].as_str().unwrap().starts_with("before-"), "{shown}");
    child.kill().unwrap();
    child.wait().unwrap();
}
