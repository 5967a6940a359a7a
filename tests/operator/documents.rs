//! Events with values that JavaScript reads and stricter readers refuse: half an emoji, numbers beyond a double,
//! deep nesting. Whatever intake accepts, every command and answer shows.

use postrider::json;
use serde_json::{Value, json as object};

use super::commands::{ask, ask_with};
use crate::support::app::{TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver};

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Property values that `serde_json` does not read.
fn values() -> [String; 4] {
    [r#""\ud83d""#.to_owned(), "1e400".to_owned(), deep(130), r#"{"\udE00":-1e999}"#.to_owned()]
}

#[tokio::test]
async fn every_accepted_document_is_sent_listed_and_explained_by_the_command_line() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), object!({}))]).await;
    let line = |(at, value): (usize, &String)| {
        format!(r#"{{"type":"track","userId":"u","event":"E","messageId":"m-{at}","properties":{{"p":{value}}}}}"#)
    };
    let lines: Vec<String> = values().iter().enumerate().map(line).collect();
    std::fs::write(app.dir.path().join("events.jsonl"), lines.join("\n")).unwrap();
    let key = [("POSTRIDER_WRITE_KEY", WRITE_KEY)];
    let (code, stdout, stderr) = ask_with(&app, &["send", "--file", "events.jsonl", "--json"], &key).await;
    assert_eq!((code, stdout.trim()), (0, r#"{"sent":4}"#), "{stderr}");
    for value in values() {
        let properties = format!(r#"{{"p":{value}}}"#);
        let sent = ask_with(&app, &["send", "--properties", &properties], &key).await;
        assert_eq!(sent.0, 0, "{value}: {}", sent.2);
    }
    app.until_settled(8).await;

    let listed = ask(&app, &["events", "--json"]).await;
    assert_eq!(listed.0, 0, "{}", listed.2);
    for text in &lines {
        assert!(listed.1.contains(text.as_str()), "byte for byte: {text}");
    }
    for (at, text) in lines.iter().enumerate() {
        let explained = ask(&app, &["explain", &format!("m-{at}"), "--json"]).await;
        assert_eq!(explained.0, 0, "{text}: {}", explained.2);
        assert!(explained.1.contains(text.as_str()), "{}", explained.1);
        let shown = ask(&app, &["explain", &format!("m-{at}")]).await;
        assert!(shown.0 == 0 && shown.1.contains("delivered"), "{shown:?}");
        assert_eq!(ask(&app, &["test", "website/one/everything"]).await.0, 0);
    }
    // The receivers got what JavaScript makes of them.
    let arrived: Vec<_> = receiver.requests().iter().map(|it| it.body.clone()).collect();
    for value in values() {
        let value = json::to_string(&json::parse(value.as_bytes()).unwrap());
        let expected = format!(r#""properties":{{"p":{value}}}"#);
        let count = arrived.iter().filter(|body| String::from_utf8_lossy(body).contains(&expected)).count();
        assert_eq!(count, 2, "{expected}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_test_takes_every_document_that_intake_accepts() {
    let app = TestApp::with(&[("one", "http://127.0.0.1:9/", object!({}))]).await;
    for value in values() {
        let body = format!(r#"{{"document":{{"type":"track","userId":"u","event":"E","p":{value}}},"send":false}}"#);
        let headers = [("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let path = "/api/v1/mappings/website/one/everything/tests";
        let answer = app.client.post_bytes(path, headers.into_iter().collect(), body.into()).await.unwrap();
        assert_eq!(answer.status, 200, "{value}: {:?}", answer.json());
        let sent: Value = answer.json()["request"]["body"].clone();
        let value = json::to_string(&json::parse(value.as_bytes()).unwrap());
        assert!(sent.as_str().unwrap().contains(&format!(r#""p":{value}"#)), "{sent}");
    }
    app.stop().await;
}

#[tokio::test]
async fn message_ids_that_differ_in_a_lone_surrogate_are_two_messages() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), object!({}))]).await;
    let ids = [r"a\ud83d", r"a\ud83e", r"a\ufffd", r"a\\ud83d", r"\udc00a"];
    let track = |id: &str| format!(r#"{{"userId":"u","event":"E","messageId":"{id}"}}"#);
    for id in ids.iter().chain(&ids) {
        let (name, value) = ("authorization", format!("Bearer {WRITE_KEY}"));
        let headers = [(name.parse().unwrap(), value.parse().unwrap())];
        let sent = app.client.post_bytes("/v1/track", headers.into_iter().collect(), track(id).into());
        assert_eq!(sent.await.unwrap().status, 200, "{id}");
    }
    app.until_settled(ids.len()).await;
    let arrived = receiver.requests();
    assert_eq!(arrived.len(), ids.len(), "each once");
    for id in ids {
        let id = json::to_string(&json::parse(format!("\"{id}\"").as_bytes()).unwrap());
        let expected = format!(r#""messageId":{id}"#);
        let has = arrived.iter().any(|it| String::from_utf8_lossy(&it.body).contains(&expected));
        assert!(has, "{expected}");
    }
    app.stop().await;
}
