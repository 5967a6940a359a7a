//! Explaining the routing of an event: its delivery for each mapping, or why there is none.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::{Builder, SECRET, TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Received, Receiver, by_request};

fn document(destinations: Value) -> Value {
    json!({"sources": [{
        "name": "website",
        "write_key": {"value": WRITE_KEY},
        "destinations": destinations,
    }]})
}

async fn explain(app: &TestApp, event: &str) -> Value {
    let (status, body) = app.client.get(&format!("/api/v1/events/{event}/explain")).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Each mapping's name, verdict and delivery state.
fn verdicts(explanation: &Value) -> Vec<[String; 3]> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mappings = explanation["mappings"].as_array().unwrap();
    let row = |it: &Value| [&it["mapping"], &it["verdict"], &it["delivery"]["state"]].map(text);
    mappings.iter().map(row).collect()
}

fn because<'a>(explanation: &'a Value, mapping: &str) -> &'a str {
    let mappings = explanation["mappings"].as_array().unwrap();
    let found = mappings.iter().find(|it| it["mapping"] == mapping).expect("the mapping");
    found["because"].as_str().unwrap()
}

/// A service whose mappings show every verdict for the event `m/1 é`.
async fn with_every_verdict(receiver: &Receiver) -> TestApp {
    let app = Builder::new().start().await;
    let mapping = |name: &str, more: Value| {
        let mut mapping = json!({"name": name, "url": receiver.url(&format!("/{name}"))});
        mapping.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mapping
    };
    let crm = |wants: &str, off: bool, later: Option<Value>| {
        let mut mappings = vec![
            mapping("a-takes", json!({"trigger": "type = 'track'"})),
            mapping("b-gone", json!({})),
            mapping("c-down", json!({})),
            mapping("d-wants", json!({"trigger": wants})),
            mapping("e-off", json!({"enabled": off})),
        ];
        mappings.extend(later);
        json!({"name": "crm", "shared_secret": {"value": SECRET}, "mappings": mappings})
    };
    let pages = json!({"trigger": "type = 'page' or type = 'screen'"});
    let below = [mapping("all", json!({})), mapping("pages", pages)];
    let erp = json!({"name": "erp", "mappings": below});
    let before = crm("type = \"track\" and properties.plan = \"pro\"", false, None);
    app.apply(document(json!([before, erp]))).await;

    let event = json!({
        "event": "Signed Up", "userId": "u1", "messageId": "m/1 é", "properties": {"plan": "free"},
        "integrations": {"erp": false},
    });
    assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    for number in 0..3 {
        app.until_tried(number, 1).await;
    }
    app.clock.advance(Duration::from_secs(60));
    let later = mapping("f-later", json!({}));
    app.apply(document(json!([crm("type = \"track\"", true, Some(later)), erp]))).await;
    app
}

fn by_name() -> impl Fn(&Received) -> Behaviour {
    |it| match it.path.as_str() {
        "/b-gone" => Behaviour::status(410),
        "/c-down" => Behaviour::status(503).header("Retry-After", "3600"),
        _ => Behaviour::ok(),
    }
}

#[tokio::test]
async fn every_mapping_explains_its_delivery_or_why_there_is_none() {
    let receiver = Receiver::start(by_request(by_name())).await;
    let app = with_every_verdict(&receiver).await;
    let why = explain(&app, "m%2F1%20%C3%A9").await;
    let rows = verdicts(&why);
    let rows: Vec<[&str; 3]> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    assert_eq!(
        rows,
        [
            ["website/crm/a-takes", "matched", "delivered"],
            ["website/crm/b-gone", "matched", "dead"],
            ["website/crm/c-down", "matched", "pending"],
            ["website/crm/d-wants", "trigger", "-"],
            ["website/crm/e-off", "disabled", "-"],
            ["website/crm/f-later", "made_later", "-"],
            ["website/erp/all", "integrations", "-"],
            ["website/erp/pages", "trigger", "-"],
        ]
    );
    let says = |mapping: &str, parts: &[&str]| {
        let because = because(&why, mapping);
        assert!(parts.iter().all(|part| because.contains(part)), "{mapping}: {because}");
    };
    says(
        "website/crm/a-takes",
        &["attempted once, last: delivered (200); its receiver accepted it at "],
    );
    says("website/crm/b-gone", &["last: rejected", "a dead letter at ", "reason rejected"]);
    says(
        "website/crm/c-down",
        &["attempted once, last: server_error", "; next attempt at ", "; deadline "],
    );
    says(
        "website/crm/d-wants",
        &[
            "properties.plan = \"pro\" is false: properties.plan was \"free\"",
            "that was revision 1; revision 2 is current since",
        ],
    );
    assert_eq!(why["mappings"][3]["unmet"]["found"], "\"free\"");
    says("website/crm/e-off", &["inferred: it was disabled", "enabled again at"]);
    says("website/erp/pages", &["type = \"page\" or type = \"screen\" is false"]);
    assert!(why["notes"][0].as_str().unwrap().contains("within 24 hours"), "{why}");
    app.stop().await;
}

#[tokio::test]
async fn explain_prints_text_and_json() {
    let receiver = Receiver::start(by_request(by_name())).await;
    let app = with_every_verdict(&receiver).await;
    let (code, stdout, stderr) = ask(&app, &["explain", "m/1 é"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("website/crm/a-takes\tdelivered\tdlv_"), "{stdout}");
    let kept = "website/erp/all\tintegrations\t-\tthe event's integrations object excludes";
    assert!(stdout.contains(kept), "{stdout}");

    let why = explain(&app, "m%2F1%20%C3%A9").await;
    let id = why["event"]["id"].as_str().unwrap().to_owned();
    let by_id = explain(&app, &id).await;
    assert_eq!((&by_id["mappings"], &by_id["notes"]), (&why["mappings"], &Value::Null));
    let (code, stdout, _) = ask(&app, &["explain", &id, "--json"]).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told), (0, &by_id));
    let (code, _, stderr) = ask(&app, &["explain", "nowhere"]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("there is no event with the id or messageId nowhere"), "{stderr}");
    app.stop().await;
}

#[tokio::test]
async fn a_rejected_event_and_one_settled_by_a_sibling_are_explained() {
    let receiver = Receiver::start(by_request(|it| {
        Behaviour::status(if it.path == "/down" { 503 } else { 200 })
    }))
    .await;
    let app = Builder::new().start().await;
    let any = json!({"name": "crm", "policy": "any", "mappings": [
        {"name": "down", "url": receiver.url("/down")},
        {"name": "up", "url": receiver.url("/up")},
    ]});
    app.apply(document(json!([any]))).await;
    app.track("first").await;
    app.until_settled(2).await;
    let why = explain(&app, "first").await;
    let up = why["mappings"][1]["delivery"]["id"].as_str().unwrap();
    let settled = because(&why, "website/crm/down");
    assert!(
        settled.contains(&format!("by {up} of website/crm/up: the destination's policy is any")),
        "{settled}"
    );
    assert_eq!(why["mappings"][0]["delivery"]["settled_by"], up);

    let nameless = json!({"userId": "u1", "messageId": "nameless"});
    assert_eq!(app.send("/v1/track", &nameless).await, StatusCode::OK);
    let why = explain(&app, "nameless").await;
    assert_eq!(verdicts(&why)[0][1], "rejected");
    let reason = why["event"]["rejection"].as_str().unwrap();
    assert!(because(&why, "website/crm/up").ends_with(reason));

    // What was removed since shows what was delivered there.
    let request = json!({"document": document(json!([])), "prune": true});
    let (status, _) = app.client.post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let why = explain(&app, "first").await;
    assert_eq!(verdicts(&why), [["-", "matched", "delivered"], ["-", "matched", "delivered"]]);
    app.stop().await;
}

#[tokio::test]
async fn older_events_with_the_same_message_id_are_listed() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    app.track("again").await;
    app.track("again").await;
    app.until_settled(1).await;
    let first = explain(&app, "again").await;
    assert_eq!(first["others"], Value::Null);
    // The same messageId a week later is another event.
    for _ in 0..7 {
        app.clock.advance(Duration::from_secs(24 * 3_600));
        for duty in &app.app.duties.engine_duties {
            duty.run(postrider::domain::clock::Clock::service_now(&*app.clock)).await.unwrap();
        }
    }
    app.track("again").await;
    app.until_settled(2).await;
    let second = explain(&app, "again").await;
    assert_ne!(second["event"]["id"], first["event"]["id"]);
    assert_eq!(second["others"], json!([first["event"]["id"]]));
    let (_, list) = app.client.get("/api/v1/events?message_id=again").await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn a_time_that_was_not_used_as_given_is_explained() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let receipt = "the time of receipt is used";
    for (id, times, parts) in [
        ("unread", json!({"timestamp": "yesterday"}), vec!["timestamp \"yesterday\"", receipt]),
        ("zero", json!({"timestamp": "0001-01-01T00:00:00Z"}), vec!["0001-01-01", receipt]),
        (
            "skew",
            json!({"timestamp": "2024-03-05T10:00:00Z", "sentAt": "0001-01-01T00:00:00Z"}),
            vec!["sentAt \"0001-01-01T00:00:00Z\"", "implausible clock skew", receipt],
        ),
        (
            "half",
            json!({"timestamp": "2024-03-05T10:00:00Z", "sentAt": "soon"}),
            vec!["sentAt \"soon\"", "not corrected for clock skew"],
        ),
        ("right", json!({"timestamp": 1_709_632_800, "sentAt": "2024-03-05 10:00:01 UTC"}), vec![]),
        ("none", json!({}), vec![]),
    ] {
        let mut event = json!({"event": "E", "userId": "u", "messageId": id});
        event.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
        let why = explain(&app, id).await;
        let notes = why["notes"].as_array().unwrap().iter().filter_map(Value::as_str);
        let notes: Vec<&str> = notes.filter(|note| note.starts_with("its ")).collect();
        assert_eq!(notes.len(), usize::from(!parts.is_empty()), "{id}: {notes:?}");
        assert!(parts.iter().all(|part| notes[0].contains(part)), "{id}: {notes:?}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_entry_of_integrations_that_excludes_a_destination_is_named() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    for (id, integrations, excluded_by) in [
        ("own", json!({"crm": false}), Some("\"crm\" is false")),
        ("capital", json!({"All": false}), Some("\"All\" is false")),
        ("small", json!({"all": false}), Some("\"all\" is false")),
        ("loud", json!({"ALL": false}), Some("\"ALL\" is false")),
        ("beside", json!({"all": false, "crm": true}), None),
    ] {
        let event =
            json!({"event": "E", "userId": "u", "messageId": id, "integrations": integrations});
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
        let why = explain(&app, id).await;
        let verdict = if excluded_by.is_some() { "integrations" } else { "matched" };
        assert_eq!(verdicts(&why)[0][1], verdict, "{id}");
        let because = because(&why, "website/crm/everything");
        assert!(because.contains(excluded_by.unwrap_or("")), "{id}: {because}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_name_of_segments_definition_counts_for_mappings_of_its_profile() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = Builder::new().start().await;
    for (profile, name) in [
        ("segment_classic", "Webhooks"),
        ("segment_actions", "Webhooks (Actions)"),
        ("segment_extensible", "Extensible Webhook"),
    ] {
        let url = receiver.url("/");
        let mapping = json!({"name": "one", "url": url, "profile": profile});
        app.apply(document(json!([{"name": "crm", "mappings": [mapping]}]))).await;
        for (at, integrations, excluded_by) in [
            (0, json!({name: false}), Some(name)),
            (1, json!({name: false, "crm": true}), None),
            (2, json!({name: true, "all": false}), None),
            (3, json!({name: true, "crm": false}), Some("crm")),
        ] {
            let id = format!("{profile}-{at}");
            let event =
                json!({"event": "E", "userId": "u", "messageId": id, "integrations": integrations});
            assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
            let why = explain(&app, &id).await;
            let verdict = if excluded_by.is_some() { "integrations" } else { "matched" };
            assert_eq!(verdicts(&why)[0][1], verdict, "{id}");
            let entry = excluded_by.map(|name| format!("its entry {name:?} is false"));
            let because = because(&why, "website/crm/one");
            assert!(because.contains(&entry.unwrap_or_default()), "{id}: {because}");
        }
    }
    app.stop().await;
}
