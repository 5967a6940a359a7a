//! The live stream of events: what is told, to whom, and how it ends.

use std::time::Duration;

use http::{Method, StatusCode};
use postrider::domain::clock::Clock as _;
use serde_json::json;

use crate::auth::bare;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::sse::Sse;

async fn watch(app: &TestApp, query: &str) -> Sse {
    let path = format!("/api/v1/events/stream{query}");
    Sse::open(app.app.address, &app.dir.path().join("postrider.token"), &path).await
}

#[tokio::test]
async fn what_is_accepted_is_told_live_to_those_whose_filter_wants_it() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let mut all = watch(&app, "").await;
    let mut pages = watch(&app, "?type=page&source=website").await;
    let mut ada = watch(&app, "?text=ADA&type=&source=").await;
    app.track("first").await;
    let page = json!({"name": "Home", "userId": "ada", "messageId": "m2"});
    assert_eq!(app.send("/v1/page", &page).await, StatusCode::OK);
    let told = all.message().await;
    assert_eq!((&told["type"], &told["name"]), (&json!("track"), &json!("first")));
    assert_eq!((&told["source"], &told["message_id"]), (&json!("website"), &json!("first")));
    assert_eq!(told["body"]["userId"], "u1");
    assert_eq!(all.message().await["name"], "Home");
    assert_eq!(pages.message().await["message_id"], "m2");
    assert_eq!(ada.message().await["message_id"], "m2");
    let id = told["id"].as_str().unwrap();
    let (status, shown) = app.client.get(&format!("/api/v1/events/{id}")).await.unwrap();
    assert_eq!((status, &shown["event"]["message_id"]), (StatusCode::OK, &json!("first")));
}

#[tokio::test]
async fn rejected_events_are_told_with_their_reason_and_duplicates_are_not() {
    let app = TestApp::with(&[]).await;
    let mut all = watch(&app, "").await;
    app.track("once").await;
    app.track("once").await;
    let hostile = json!({"event": 7, "userId": "<script>alert(1)</script>", "messageId": "bad"});
    assert_eq!(app.send("/v1/track", &hostile).await, StatusCode::OK);
    assert_eq!(all.message().await["message_id"], "once");
    let told = all.message().await;
    assert_eq!(told["message_id"], "bad");
    assert!(told["rejection"].as_str().is_some_and(|why| why.contains("event")), "{told}");
    assert_eq!(told["body"]["userId"], "<script>alert(1)</script>");
}

#[tokio::test]
async fn a_wrong_condition_is_named() {
    let app = TestApp::with(&[]).await;
    for (query, field) in [("type=trak", "type"), ("source=none", "source"), ("typ=x", "typ")] {
        let path = format!("/api/v1/events/stream?{query}");
        let (status, problem) = app.client.get(&path).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["faults"][0]["path"], field, "{problem}");
    }
}

#[tokio::test]
async fn quiet_streams_give_a_sign_of_life() {
    let app = TestApp::with(&[]).await;
    let mut all = watch(&app, "").await;
    // The reader may not have begun to wait when the clock is moved: it is moved until it hears.
    let mut heard =
        tokio::spawn(async move { while all.line().await.unwrap().trim_end() != ":" {} });
    while tokio::time::timeout(Duration::from_millis(20), &mut heard).await.is_err() {
        app.clock.advance(Duration::from_secs(15));
    }
}

/// What let the watcher in is looked at before each line, whatever the line tells.
#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_or_expires() {
    let app = TestApp::with(&[]).await;
    let ends = (app.clock.now() + Duration::from_secs(60)).to_iso();
    let path = "/api/v1/events/stream";
    let mut streams = Vec::new();
    for request in [
        json!({"name": "revoked", "role": "viewer"}),
        json!({"name": "expired", "role": "viewer", "expires_at": ends}),
    ] {
        let (_, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
        let secret = made["secret"].as_str().unwrap();
        streams.push(Sse::bearing(app.app.address, secret, path).await);
    }
    app.track("seen").await;
    for stream in &mut streams {
        assert_eq!(stream.message().await["name"], "seen");
    }
    let (mut expired, mut revoked) = (streams.remove(1), streams.remove(0));
    bare(&app.client, Method::DELETE, "/api/v1/tokens/revoked").await;
    app.track("unseen").await;
    revoked.ends_without("unseen").await;
    assert_eq!(expired.message().await["name"], "unseen", "the other goes on");
    // A quiet stream ends with its next sign of life, once the token has expired. The reader may not
    // have begun to wait when the clock is moved: it is moved until the stream ends.
    let mut ending = tokio::spawn(async move { expired.ends_without("nothing").await });
    while tokio::time::timeout(Duration::from_millis(20), &mut ending).await.is_err() {
        app.clock.advance(Duration::from_secs(15));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_stop_ends_the_streams() {
    let app = Builder::new().settings(|it| it.shutdown_grace_ms = 3_600_000).start().await;
    app.apply(pipeline(&[])).await;
    let mut all = watch(&app, "").await;
    app.stop().await;
    while all.line().await.is_some() {}
}
