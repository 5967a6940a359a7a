//! Differential test: requests of Segment's published webhook definitions, run in Node, and of mappings with their
//! profile, sent by the service, are the same on the wire.
//!
//! Not compared: `webhook-*` and what belongs to the connection. Not generated, because the two differ by design:
//! credentials in a mapping, values outside printable ASCII, URLs that are not valid as they stand, and a list of one
//! in the place of a method, which Segment's schema takes for its item.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use http::StatusCode;
use postrider::domain::delivery::State;
use serde_json::{Map, Value, json};

use crate::support::app::{Builder, SECRET};
use crate::support::receiver::{Behaviour, Receiver};

const PROFILES: [&str; 2] = ["segment_actions", "segment_extensible"];
const FORM: &str = "application/x-www-form-urlencoded";

/// One mapping and the events that it gets.
struct Case {
    profile: &'static str,
    /// Its fields beside the URL.
    mapping: Value,
    /// The events' properties.
    events: Vec<Value>,
    /// Whether the events share a request.
    batch: bool,
}

impl Case {
    fn event(&self, number: usize, index: usize) -> Value {
        json!({"type": "track", "event": "E", "userId": "u", "messageId": format!("{number}-{index}"),
            "properties": self.events[index]})
    }

    fn events(&self, number: usize) -> Vec<Value> {
        (0..self.events.len()).map(|index| self.event(number, index)).collect()
    }

    fn mapping(&self, url: &str) -> Value {
        let mut mapping = self.mapping.clone();
        mapping["url"] = url.into();
        mapping
    }
}

/// What differs between two requests, if anything.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    method: String,
    body: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn new(method: &str, headers: impl Iterator<Item = (String, String)>, body: String) -> Self {
        let headers = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, _)| !is_of_the_connection(name) && !name.starts_with("webhook-"));
        Self { method: method.to_owned(), body, headers: headers.collect() }
    }
}

fn is_of_the_connection(name: &str) -> bool {
    ["accept", "accept-encoding", "connection", "content-length", "host", "transfer-encoding"]
        .contains(&name)
}

/// Content types in every spelling, as headers of a mapping.
fn content_types() -> Vec<Value> {
    let given = |name: &str, value: Value| json!({ name: value });
    vec![
        json!({}),
        json!({"X-Team": "growth"}),
        given("Content-Type", "application/json".into()),
        given("Content-Type", FORM.into()),
        given("content-type", FORM.into()),
        given("Content-type", FORM.into()),
        given("Content-Type", format!("{FORM}; charset=utf-8").into()),
        given("Content-Type", "Application/X-WWW-Form-Urlencoded".into()),
        given("Content-Type", "text/plain".into()),
        given("Content-Type", json!({"@path": "$.properties.type"})),
        given("Content-Type", json!({"@path": "$.nope"})),
        given("Content-Type", json!([FORM])),
        given("Content-Type", json!("")),
    ]
}

/// Data of every kind, as properties of an event.
fn payloads() -> Vec<Value> {
    let mut payloads: Vec<Value> = [
        json!({"a": 1, "none": null, "10": [1.5, null], "b": {"c": ["x"]}}),
        json!({}),
        json!({"list": [1, {"b": 1}, null, ["x", []]], "o": {}, "t": true, "e": "é ~*+&=", "": ""}),
        json!({"text": "line\nbreak \"quoted\" \\ \u{1}", "n": 1e21, "m": -0.5}),
        json!(null),
        json!(""),
        json!("text"),
        json!(0),
        json!(false),
        json!([{"a": 1}]),
        json!([]),
    ]
    .into_iter()
    .map(|data| json!({"data": data, "type": FORM}))
    .collect();
    payloads.push(json!({"type": FORM}));
    payloads
}

fn header_values() -> Vec<Value> {
    let path = |path: &str| json!({ "@path": format!("$.properties.{path}") });
    vec![
        json!({"X-A": null, "X-B": "b"}),
        json!({"X-A": [1, [2, null], {"a": 1}], "X-B": {"a": 1}, "X-C": {}, "X-D": []}),
        json!({"X-A": "", "X-B": true, "X-C": 1.5, "X-D": 1e21, "X-E": " pad "}),
        json!({"X-A": "undefined", "X-B": "null"}),
        json!({"X-A": path("object"), "X-B": path("list"), "X-C": path("none"), "X-D": path("nope")}),
        json!({"X-A": {"a": path("object")}, "X-B": [path("nope"), path("none")]}),
        json!({"x-signature": "mine"}),
        json!({"User-Agent": "theirs/1.0"}),
        path("headers"),
        path("none"),
        path("nope"),
        path("text"),
        path("list"),
        json!({"@merge": {"objects": [path("headers"), {"X-More": "1"}], "direction": "right"}}),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let data = json!({"@path": "$.properties.data"});
    let of_headers = json!({"object": {"a": 1}, "list": ["x", 2], "none": null, "text": "t", "data": {"a": 1},
        "headers": {"X-Own": 5, "Content-Type": FORM, "x-null": null}});
    for profile in PROFILES {
        for headers in content_types() {
            let mapping = json!({"headers": headers, "data": data});
            let payloads = payloads();
            cases.push(Case { profile, mapping: mapping.clone(), events: payloads, batch: false });
            let of = |data: Value| json!({"data": data, "type": FORM});
            let (one, two) = (of(json!({"a": 1, "z": [1]})), of(json!({"b": "2 3"})));
            for events in [
                vec![one.clone(), json!({"type": FORM}), two.clone()],
                vec![of(json!(null)), one.clone()],
                vec![two, one],
            ] {
                cases.push(Case { profile, mapping: mapping.clone(), events, batch: true });
            }
        }
        for headers in header_values() {
            let mapping = json!({"headers": headers, "data": data});
            cases.push(Case { profile, mapping, events: vec![of_headers.clone()], batch: false });
        }
        let mapping = json!({"method": {"@path": "$.properties.method"}, "data": data});
        let methods = ["PUT", "PATCH", "POST", "put", "GET", ""].map(Value::from);
        let methods = methods.into_iter().chain([json!(null), json!(5)]);
        let events = methods.map(|method| json!({"method": method, "data": {"a": 1}}));
        cases.push(Case { profile, mapping, events: events.collect(), batch: false });
        for (method, data) in [("PUT", json!({"@literal": null})), ("PATCH", json!({"a": [1]}))] {
            let mapping = json!({"method": method, "data": data});
            cases.push(Case { profile, mapping, events: vec![json!({})], batch: false });
        }
    }
    cases
}

/// The requests of each case, and how many payloads Segment's code refused.
fn by_segment(cases: &[Case]) -> Vec<(Vec<Request>, u64)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/segment");
    let mut child = Command::new("node")
        .arg(folder.join("requests.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node, as tests/sdk/install sets it up");
    let mut stdin = child.stdin.take().unwrap();
    let line = |(number, case): (usize, &Case)| {
        json!({
            "profile": case.profile, "batch": case.batch,
            "settings": {"sharedSecret": SECRET, "dynamicAuthSettings": {"oauth": {"type": "noAuth"}}},
            "mapping": case.mapping(&format!("http://receiver/{number}")), "events": case.events(number),
        })
        .to_string()
    };
    let lines: Vec<String> = cases.iter().enumerate().map(line).collect();
    let writing = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "node: packages as tests/segment/install sets them up?");
    writing.join().unwrap().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let request = |it: &Value| {
        let headers = it["headers"].as_object().cloned().unwrap_or_else(Map::new);
        let headers = headers.into_iter().map(|(name, value)| (name, text(&value)));
        Request::new(&text(&it["method"]), headers, text(&it["body"]))
    };
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    answers
        .map(|answer| {
            let mut requests: Vec<_> =
                answer["requests"].as_array().unwrap().iter().map(request).collect();
            requests.sort();
            (requests, answer["refused"].as_u64().unwrap())
        })
        .collect()
}

/// The requests of each case, and how many deliveries are dead.
async fn by_postrider(cases: &[Case]) -> Vec<(Vec<Request>, u64)> {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = Builder::new().start().await;
    let source = |(number, case): (usize, &Case)| {
        let mut mapping = case.mapping(&receiver.url(&format!("/{number}")));
        mapping["name"] = "m".into();
        mapping["profile"] = case.profile.into();
        if case.batch {
            mapping["batching"] = json!({"size": case.events.len()});
        }
        json!({
            "name": number.to_string(), "write_key": {"value": key(number)},
            "destinations": [{"name": "d", "shared_secret": {"value": SECRET}, "mappings": [mapping]}],
        })
    };
    let sources: Vec<Value> = cases.iter().enumerate().map(source).collect();
    app.apply(json!({ "sources": sources })).await;
    let mut dead = vec![0; cases.len()];
    for (number, case) in cases.iter().enumerate() {
        let body = json!({"batch": case.events(number)});
        assert_eq!(app.send_with(&key(number), "/v1/batch", &body).await, StatusCode::OK);
    }
    let sent = cases.iter().map(|case| case.events.len()).sum();
    for row in app.until_settled(sent).await {
        if row.delivery.state == State::Dead {
            let number = row.message_id.split('-').next().unwrap();
            let number: usize = number.parse().unwrap();
            dead[number] += 1;
        }
    }
    let mut requests: Vec<Vec<Request>> = cases.iter().map(|_| Vec::new()).collect();
    for received in receiver.requests() {
        let number: usize = received.path[1..].parse().unwrap();
        let body = received.text().to_owned();
        let headers = received.headers.into_iter();
        requests[number].push(Request::new(&received.method, headers, body));
    }
    app.stop().await;
    requests.iter_mut().for_each(|it| it.sort());
    requests.into_iter().zip(dead).collect()
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_a_profile_are_those_of_segments_definition() {
    let cases = cases();
    let expected = by_segment(&cases);
    assert_eq!(expected.len(), cases.len());
    let ours = by_postrider(&cases).await;
    let mut differences = Vec::new();
    for ((case, expected), ours) in cases.iter().zip(&expected).zip(&ours) {
        if expected != ours {
            let Case { profile, mapping, batch, .. } = case;
            differences
                .push(format!("{profile} {mapping} batch: {batch}\n  {expected:#?}\n  {ours:#?}"));
        }
    }
    let shown: Vec<String> = differences.iter().take(3).cloned().collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), shown.join("\n"));
    let sent: usize = expected.iter().map(|(requests, _)| requests.len()).sum();
    let refused: u64 = expected.iter().map(|(_, refused)| refused).sum();
    assert!(sent > 250 && refused > 100, "{sent} sent, {refused} refused");
}
