//! The live stream of events: its items, its filters, its authorization and its end.

use std::time::Duration;

use http::{Method, StatusCode};
use postrider::domain::clock::Clock as _;
use serde_json::json;

use crate::auth::{bare, bearing};
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::sse::Sse;

async fn watch(app: &TestApp, query: &str) -> Sse {
    let path = format!("/api/v1/events/stream{query}");
    Sse::open(app.app.address, &app.dir.path().join("postrider.token"), &path).await
}

#[tokio::test]
async fn accepted_events_are_streamed_to_subscribers_whose_filter_matches() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let mut all = watch(&app, "").await;
    let mut pages = watch(&app, "?type=page&source=website").await;
    let mut ada = watch(&app, "?text=ADA&type=&source=").await;
    app.track("first").await;
    let page = json!({"name": "Home", "userId": "ada", "messageId": "m2"});
    assert_eq!(app.send("/v1/page", &page).await, StatusCode::OK);
    let event = all.message().await;
    assert_eq!((&event["type"], &event["name"]), (&json!("track"), &json!("first")));
    assert_eq!((&event["source"], &event["message_id"]), (&json!("website"), &json!("first")));
    assert_eq!(event["body"]["userId"], "u1");
    assert_eq!(all.message().await["name"], "Home");
    assert_eq!(pages.message().await["message_id"], "m2");
    assert_eq!(ada.message().await["message_id"], "m2");
    let id = event["id"].as_str().unwrap();
    let (status, shown) = app.client.get(&format!("/api/v1/events/{id}")).await.unwrap();
    assert_eq!((status, &shown["event"]["message_id"]), (StatusCode::OK, &json!("first")));
}

#[tokio::test]
async fn rejected_events_are_streamed_with_their_reason_and_duplicates_are_not() {
    let app = TestApp::with(&[]).await;
    let mut all = watch(&app, "").await;
    app.track("once").await;
    app.track("once").await;
    let hostile = json!({"event": 7, "userId": "<script>alert(1)</script>", "messageId": "bad"});
    assert_eq!(app.send("/v1/track", &hostile).await, StatusCode::OK);
    assert_eq!(all.message().await["message_id"], "once");
    let event = all.message().await;
    assert_eq!(event["message_id"], "bad");
    assert!(event["rejection"].as_str().is_some_and(|why| why.contains("event")), "{event}");
    assert_eq!(event["body"]["userId"], "<script>alert(1)</script>");
}

#[tokio::test]
async fn an_invalid_filter_names_its_field() {
    let app = TestApp::with(&[]).await;
    for (query, field) in [("type=trak", "type"), ("source=none", "source"), ("typ=x", "typ")] {
        let path = format!("/api/v1/events/stream?{query}");
        let (status, problem) = app.client.get(&path).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["faults"][0]["path"], field, "{problem}");
    }
}

#[tokio::test]
async fn quiet_streams_send_keep_alives() {
    let app = TestApp::with(&[]).await;
    let mut all = watch(&app, "").await;
    // The stream may not be waiting yet when the clock is advanced: it is advanced until a keep-alive comes.
    let mut received =
        tokio::spawn(async move { while all.line().await.unwrap().trim_end() != ":" {} });
    while tokio::time::timeout(Duration::from_millis(20), &mut received).await.is_err() {
        app.clock.advance(Duration::from_secs(15));
    }
}

/// Authorization is checked before each item and each keep-alive.
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
    assert_eq!(expired.message().await["name"], "unseen", "the other stream continues");
    // A quiet stream ends at its next keep-alive after the token has expired. The stream may not be waiting
    // yet when the clock is advanced: it is advanced until the stream ends.
    let mut ending = tokio::spawn(async move { expired.ends_without("nothing").await });
    while tokio::time::timeout(Duration::from_millis(20), &mut ending).await.is_err() {
        app.clock.advance(Duration::from_secs(15));
    }
    app.stop().await;
}

#[tokio::test]
async fn shutdown_ends_the_streams() {
    let app = Builder::new().settings(|it| it.shutdown_grace_ms = 3_600_000).start().await;
    app.apply(pipeline(&[])).await;
    let mut all = watch(&app, "").await;
    app.stop().await;
    while all.line().await.is_some() {}
}

#[tokio::test]
async fn a_reader_that_returns_with_its_last_id_gets_what_it_missed() {
    let app = TestApp::with(&[]).await;
    let mut first = watch(&app, "").await;
    // Where it begins.
    first.id().await;
    app.track("one").await;
    let id = first.id().await;
    assert_eq!(first.message().await["name"], "one");
    drop(first);
    app.track("two").await;
    app.track("three").await;
    let path = "/api/v1/events/stream";
    let mut back = Sse::returning(app.app.address, &app.token(), &id, path).await;
    assert_eq!(back.message().await["name"], "two");
    assert_eq!(back.message().await["name"], "three");
    app.track("four").await;
    assert_eq!(back.message().await["name"], "four");
    app.stop().await;
}

#[tokio::test]
async fn a_reader_whose_id_is_of_another_process_is_told_that_it_missed_some() {
    let app = TestApp::with(&[]).await;
    let mut other = watch(&app, "").await;
    app.track("before").await;
    other.message().await;
    for id in ["00000000000000ff-0-7", "evt_01"] {
        let path = "/api/v1/events/stream";
        let mut back = Sse::returning(app.app.address, &app.token(), id, path).await;
        back.until_line(|line| line == "event: missed").await;
        assert_eq!(back.message().await, json!({"missed": "unknown"}));
    }
    app.stop().await;
}

/// A filter lets nothing through for long: keep-alives say where the stream is.
#[tokio::test]
async fn a_quiet_reader_that_returns_is_not_told_of_events_that_it_did_not_want() {
    let app = TestApp::with(&[]).await;
    let mut pages = watch(&app, "?type=page").await;
    app.track("no page").await;
    let mut moved = tokio::spawn(async move {
        loop {
            let id = pages.id().await;
            if id.ends_with("-1") {
                return id;
            }
        }
    });
    let id = loop {
        match tokio::time::timeout(Duration::from_millis(20), &mut moved).await {
            Ok(id) => break id.unwrap(),
            Err(_) => app.clock.advance(Duration::from_secs(15)),
        }
    };
    app.track("no page either").await;
    let path = "/api/v1/events/stream?type=page";
    let mut back = Sse::returning(app.app.address, &app.token(), &id, path).await;
    let page = json!({"name": "Home", "userId": "ada", "messageId": "m2"});
    assert_eq!(app.send("/v1/page", &page).await, StatusCode::OK);
    assert_eq!(back.message().await["name"], "Home", "and no missed event before it");
    app.stop().await;
}

#[tokio::test]
async fn one_viewer_does_not_take_all_live_streams() {
    let app = TestApp::with(&[]).await;
    let request = json!({"name": "guest", "role": "viewer"});
    let (_, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
    let secret = made["secret"].as_str().unwrap();
    let path = "/api/v1/events/stream";
    let mut streams = Vec::new();
    for _ in 0..postrider::live::MAX_OF_TOKEN {
        streams.push(Sse::bearing(app.app.address, secret, path).await);
    }
    let guest = bearing(&app, secret);
    let (status, problem) = guest.get(path).await.unwrap();
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_streams"))
    );
    assert!(problem["detail"].as_str().unwrap().contains("close one"), "{problem}");
    // Another token's streams are its own.
    let mut other = watch(&app, "").await;
    app.track("seen").await;
    assert_eq!(other.message().await["name"], "seen");
    drop(streams.pop());
    // The place is free once the service has seen the end of the connection.
    for number in 0.. {
        app.track(&format!("event {number}")).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\r\n"
        );
        if status_of(&app, &head).await.contains(" 200 ") {
            break;
        }
    }
    app.stop().await;
}

/// The status line of the response to a request.
async fn status_of(app: &TestApp, head: &str) -> String {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let mut stream = tokio::net::TcpStream::connect(app.app.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}
