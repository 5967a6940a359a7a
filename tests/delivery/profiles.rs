//! Profiles: what a mapping's profile decides beside the request itself.

use postrider::domain::clock::Clock as _;
use postrider::domain::mapping::MappingDefinition;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::request::Request;

const PROFILES: [&str; 4] =
    ["postrider", "segment_classic", "segment_actions", "segment_extensible"];

/// The seconds that a lease lasts beyond the attempt's timeout.
const MARGIN_S: u64 = 30;

#[tokio::test]
async fn the_timeout_of_a_profile_is_the_least() {
    for (timeout_ms, expected_s) in
        [(1_000, [1, 5, 10, 10]), (5_000, [5, 5, 10, 10]), (20_000, [20, 20, 20, 20])]
    {
        let receiver = Receiver::start(Behaviour::hang()).await;
        let mapping =
            |profile| json!({"name": profile, "profile": profile, "url": receiver.url("/")});
        let mappings: Vec<Value> = PROFILES.map(mapping).into();
        let destination = json!({"timeout_ms": timeout_ms, "mappings": mappings});
        let app = TestApp::with(&[("one", "", destination)]).await;
        app.track("one").await;
        receiver.wait_for(PROFILES.len()).await;
        let now = app.clock.service_now();
        let rows = app.deliveries().await;
        let leases = rows.iter().filter_map(|row| row.delivery.lease_expires_at);
        let mut seconds: Vec<u64> = leases.map(|at| at.since(now).as_secs() - MARGIN_S).collect();
        seconds.sort_unstable();
        assert_eq!(seconds, expected_s, "timeout_ms: {timeout_ms}");
    }
}

#[tokio::test]
async fn a_classic_webhook_posts_each_event_whole_whatever_its_content_type() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let form = json!({"Content-Type": "application/x-www-form-urlencoded"});
    let mapping = json!({"name": "hook", "profile": "segment_classic", "url": receiver.url("/"), "headers": form});
    let app = TestApp::with(&[("one", "", json!({"mappings": [mapping]}))]).await;
    app.track("one").await;
    app.until_settled(1).await;
    let requests = receiver.wait_for(1).await;
    let body: Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    assert_eq!(body["messageId"], "one");
    assert_eq!(requests[0].header("user-agent"), Some("Segment.io/1.0"));
    assert_eq!(requests[0].header("content-type"), Some("application/x-www-form-urlencoded"));

    let refused = json!({"name": "hook", "profile": "segment_classic", "url": receiver.url("/"),
        "method": "PUT", "data": {"a": 1}, "batching": {}});
    let document = pipeline(&[("one", "", json!({"mappings": [refused]}))]);
    let answer = Request::new("POST", "/pipeline").json(json!({"document": document}));
    let faults: Vec<String> =
        answer.send(&app).await.faults().into_iter().map(|(path, _)| path).collect();
    let at = "sources[0].destinations[0].mappings[0]";
    assert_eq!(faults, ["data", "method", "batching"].map(|field| format!("{at}.{field}")));
    app.stop().await;
}

#[tokio::test]
async fn a_secret_in_headers_that_a_directive_gives_is_refused() {
    let app = Builder::new().start().await;
    let mapping = json!({"name": "hook", "url": "http://127.0.0.1:9/",
        "headers": {"@merge": {"direction": "right", "objects": [{"X-Api-Key": "k"}, {"@path": "$.h"}]}}});
    let document = pipeline(&[("one", "", json!({"mappings": [mapping]}))]);
    let answer = Request::new("POST", "/pipeline").json(json!({"document": document}));
    let faults = answer.send(&app).await.faults();
    assert_eq!(faults[0].0, "sources[0].destinations[0].mappings[0].headers.@merge");
    assert!(faults[0].1.starts_with("X-Api-Key looks like a secret"), "{faults:?}");
    app.stop().await;
}

#[test]
fn a_method_is_one_of_three_words_or_a_directive() {
    let of = |method: Value| {
        let definition = json!({"url": "https://a.test/", "method": method});
        let definition = serde_json::from_value::<MappingDefinition>(definition);
        definition.map_err(|error| error.to_string()).map(|it| {
            let printed = serde_json::to_value(&it.method).unwrap();
            let faults = postrider::mapping::CompiledMapping::compile(&it).err();
            (printed, faults.into_iter().flatten().map(|it| it.path).collect::<Vec<_>>())
        })
    };
    assert_eq!(of(json!("PUT")), Ok((json!("PUT"), vec![])));
    let directive = json!({"@path": "$.properties.method"});
    assert_eq!(of(directive.clone()), Ok((directive, vec![])));
    assert!(of(json!("GET")).unwrap_err().contains("expected one of `POST`, `PUT`, `PATCH`"));
    let (_, faults) = of(json!({"@literal": "GET"})).unwrap();
    assert_eq!(faults, ["method"]);
    let (_, faults) = of(json!({"a": 1})).unwrap();
    assert_eq!(faults, ["method"]);
}
