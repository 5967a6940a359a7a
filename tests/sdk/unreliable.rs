//! SDKs over a connection that fails: the first request is answered 503, the answer to the second is lost. Every event
//! is delivered once, with the fields that the SDK was given.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use axum::extract::Path;
use axum::response::{Html, IntoResponse as _};
use axum::routing::get;
use axum::{Router, http};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;

use super::{NODE, PYTHON, Program, Sdk, TYPES, Verifier, WRITE_KEY, next_line, sdk, send, within};
use crate::web::browser::browse;

/// The proxy between an SDK and the service.
struct Unreliable {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    base: String,
}

impl Unreliable {
    async fn before(service: &str) -> Self {
        let mut child = Command::new("node")
            .arg(sdk("unreliable.mjs"))
            .arg(service)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node, as tests/sdk/install sets it up");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let opening = next_line(&mut lines).await;
        let base = format!("http://127.0.0.1:{}", opening["listening"]);
        Self { _child: child, lines, base }
    }

    /// Returns once both faults have happened.
    async fn failed_twice(&mut self) {
        for fault in ["503", "lost"] {
            assert_eq!(next_line(&mut self.lines).await, json!({ "fault": fault }));
        }
    }
}

/// Checks what arrived of one SDK's calls.
fn check_fields(by_type: &BTreeMap<&str, &Value>) {
    assert_eq!(by_type.keys().copied().collect::<Vec<_>>(), TYPES);
    let track = by_type["track"];
    assert_eq!(
        (&track["event"], &track["properties"]["10"]),
        (&json!("Größe gewählt"), &json!("ten"))
    );
    assert_eq!(track["properties"]["price"], json!(1e21));
    let identify = by_type["identify"];
    // RudderStack's SDKs have the traits in the context.
    let traits = [&identify["traits"], &identify["context"]["traits"]];
    assert!(traits.iter().any(|it| it["email"] == "someone@example.com"), "{identify}");
    assert_eq!(by_type["page"]["properties"]["url"], "https://example.com/?a=1&b=<2>");
    assert_eq!(by_type["screen"]["name"], "Start");
    assert!(by_type["group"]["groupId"].as_str().is_some_and(|id| id.starts_with("g-")));
    assert!(by_type["alias"]["previousId"].is_string(), "{}", by_type["alias"]);
    for body in by_type.values() {
        assert!(!body.to_string().contains("writeKey"), "{body}");
        let corrected = body["timestamp"].as_str().expect("a time");
        assert!(corrected[..4] == body["receivedAt"].as_str().unwrap()[..4], "{corrected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_over_a_failing_connection_deliver_every_call_once_with_its_fields() {
    let others = [
        NODE,
        PYTHON,
        Sdk { script: "send_customerio.mjs", words: &[] },
        Sdk { script: "send_rudderstack.mjs", words: &[] },
        Sdk { script: "send.py", words: &["rudder-sdk-python"] },
    ];
    let mut verifier = Verifier::start("200").await;
    let program = Program::start(verifier.port).await;
    let sending = others.iter().enumerate().map(|(at, by)| {
        let service = program.base.clone();
        async move {
            let mut proxy = Unreliable::before(&service).await;
            let sent = send(*by, &proxy.base, &format!("sdk{at}")).await;
            proxy.failed_twice().await;
            sent
        }
    });
    let sent: Vec<_> = futures_util::future::join_all(sending).await;
    let delivered = verifier.delivered(others.len() * TYPES.len()).await;
    for sent in &sent {
        let body = |(id, kind): &(String, String)| (kind.clone(), delivered[id].clone());
        let bodies: Vec<(String, Value)> = sent.iter().map(body).collect();
        check_fields(&bodies.iter().map(|(kind, body)| (kind.as_str(), body)).collect());
    }
    program.verb(&["doctor"]).await;
    program.stop().await;
    let rest = within("the verifier's silence", verifier.rest()).await;
    assert_eq!(rest, Vec::<Value>::new(), "nothing arrives a second time");
}

/// A site of another origin with the browser SDK; its base URL.
async fn site() -> String {
    let umd = |Path(file): Path<String>| async move {
        let path = sdk("node_modules/@segment/analytics-next/dist/umd").join(file);
        let script = [(http::header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
        match tokio::fs::read(path).await {
            Ok(bytes) => (script, bytes).into_response(),
            Err(_) => http::StatusCode::NOT_FOUND.into_response(),
        }
    };
    let script = [(http::header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    let site = Router::new()
        .route("/", get(async || Html(include_str!("browser.html"))))
        .route("/send.js", get(async move || (script, include_str!("send_browser.js"))))
        .route("/umd/{file}", get(umd));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(site.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_sdk_on_another_origin_delivers_every_call_once_with_the_cdn_url_alone() {
    let mut verifier = Verifier::start("200").await;
    let program = Program::start(verifier.port).await;
    // A call whose answer was lost is sent again, at any time until the page is closed.
    let mut proxy = Unreliable::before(&program.base).await;
    let page = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("service", proxy.base.as_str()), ("key", WRITE_KEY)])
        .finish();
    let sent = Arc::new(Mutex::new(Value::Null));
    let kept = Arc::clone(&sent);
    browse(site().await, async |browser| {
        browser.open(&format!("/?{page}")).await;
        browser
            .until("the SDK has sent every call", async || {
                let sent = browser.run("return window.sent").await;
                let is_all = TYPES.iter().all(|kind| sent[kind].is_string());
                *kept.lock().await = sent;
                is_all
            })
            .await;
        // The page stays open until its retries are through.
        let delivered = verifier.delivered(TYPES.len()).await;
        let sent = sent.lock().await.clone();
        let by_type = TYPES.map(|kind| (kind, &delivered[sent[kind].as_str().unwrap()]));
        check_fields(&BTreeMap::from(by_type));
        proxy.failed_twice().await;
        browser.expect_errors(&["status of 503", "net::ERR_"]).await;
    })
    .await;
    program.verb(&["doctor"]).await;
    program.stop().await;
    let rest = within("the verifier's silence", verifier.rest()).await;
    assert_eq!(rest, Vec::<Value>::new(), "nothing arrives a second time");
}
