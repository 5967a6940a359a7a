//! Changes of the pipeline at their edges: what counts as a change, write keys that move, concurrent
//! changes, an export applied again, host names.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::request::Request;
use crate::support::resolver::{Answer, TableResolver};

const URL: &str = "http://127.0.0.1:9/hook";
const MAPPING: &str = "/mappings/website/crm/everything";

async fn post(app: &TestApp, request: Value) -> (StatusCode, Value) {
    app.client.post("/api/v1/pipeline", &request).await.unwrap()
}

/// The details of the only line of the difference.
async fn details(app: &TestApp, document: &Value) -> Value {
    let (status, answer) = post(app, json!({"document": document})).await;
    assert_eq!((status, &answer["changed"]), (StatusCode::OK, &json!(true)), "{answer}");
    answer["lines"][0]["details"].clone()
}

async fn get(app: &TestApp, path: &str) -> Value {
    Request::new("GET", path).send(app).await.is(200).body
}

#[tokio::test]
async fn another_order_of_keys_is_a_change() {
    let app = Builder::new().start().await;
    let of = |mapping: &str| -> Value {
        let mapping: Value = serde_json::from_str(mapping).unwrap();
        json!({"sources": [{"name": "website",
            "destinations": [{"name": "crm", "mappings": [mapping]}]}]})
    };
    let source = r#""source": "function onTrack(e) { return e }""#;
    let one = format!(
        r#"{{"name": "everything", "url": "{URL}", "headers": {{"X-A": "1", "X-B": "2"}},
            "data": {{"a": 1, "list": [{{"b": 2, "c": 3}}]}},
            "function": {{{source}, "settings": {{"k": 1, "l": 2}}}}}}"#
    );
    app.apply(of(&one)).await;
    let (_, again) = post(&app, json!({"document": of(&one)})).await;
    assert_eq!(again["changed"], json!(false));
    let two = one
        .replace(r#""a": 1, "list": [{"b": 2, "c": 3}]"#, r#""list": [{"b": 2, "c": 3}], "a": 1"#);
    assert_eq!(details(&app, &of(&two)).await, json!(["data: order changed"]));
    let three = two.replace(r#"{"b": 2, "c": 3}"#, r#"{"c": 3, "b": 2}"#);
    assert_eq!(details(&app, &of(&three)).await, json!(["data: order changed"]));
    let four = three.replace(r#""k": 1, "l": 2"#, r#""l": 2, "k": 1"#);
    assert_eq!(details(&app, &of(&four)).await, json!(["function.settings: changed"]));
    let five = four.replace(r#""X-A": "1", "X-B": "2""#, r#""X-B": "2", "X-A": "1""#);
    assert_eq!(details(&app, &of(&five)).await, json!(["headers: order changed"]));
    let stored = get(&app, MAPPING).await;
    assert_eq!(stored["revision"], 5);
    assert_eq!(stored["data"].to_string(), r#"{"list":[{"c":3,"b":2}],"a":1}"#);

    // The other ways to change it agree.
    let back = |data: &str| serde_json::from_str::<Value>(data).unwrap();
    let patch = json!({"data": null});
    Request::new("PATCH", MAPPING).json(patch).send(&app).await.is(200);
    let put = json!({"url": URL, "data": back(r#"{"x": 1, "y": 2}"#)});
    Request::new("PUT", MAPPING).json(put).send(&app).await.is(200);
    let put = json!({"url": URL, "data": back(r#"{"y": 2, "x": 1}"#)});
    let answer = Request::new("PUT", MAPPING).json(put).send(&app).await.is(200);
    assert_eq!(answer.body["data"].to_string(), r#"{"y":2,"x":1}"#);
    assert_eq!(answer.body["revision"], 8);
    let path = format!("{MAPPING}/roll-back");
    let rolled = Request::new("POST", &path).json(json!({"revision": 7})).send(&app).await;
    assert_eq!(rolled.is(200).body["data"].to_string(), r#"{"x":1,"y":2}"#);
    let compared = get(&app, &format!("{MAPPING}/diff?from=8&to=9")).await;
    assert_eq!(compared["changes"][0]["path"], "/data");
    app.stop().await;
}

#[tokio::test]
async fn write_keys_move_between_sources() {
    let app = Builder::new().start().await;
    let of = |one: &str, two: &str| {
        json!({"sources": [
            {"name": "one", "write_key": {"value": one}},
            {"name": "two", "write_key": {"value": two}},
        ]})
    };
    app.apply(of("key-1", "key-2")).await;
    app.apply(of("key-2", "key-1")).await;
    app.apply(of("key-3", "key-2")).await;
    // A source under a new name that keeps its key.
    let document = json!({"sources": [
        {"name": "one", "write_key": {"value": "key-3"}},
        {"name": "shop", "write_key": {"value": "key-2"}},
    ]});
    for dry_run in [true, false] {
        let request = json!({"document": document, "prune": true, "dry_run": dry_run});
        let (status, answer) = post(&app, request).await;
        assert_eq!((status, &answer["changed"]), (StatusCode::OK, &json!(true)), "{answer}");
    }
    let event = json!({"event": "x", "userId": "u"});
    for (key, status) in [("key-1", 401), ("key-2", 200), ("key-3", 200)] {
        assert_eq!(app.send_with(key, "/v1/track", &event).await.as_u16(), status, "{key}");
    }
    let taken = json!({"sources": [{"name": "new", "write_key": {"value": "key-2"}}]});
    let (status, _) = post(&app, json!({"document": taken})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    app.stop().await;
}

#[tokio::test]
async fn concurrent_changes_of_different_nouns_all_succeed() {
    let destinations: Vec<String> = (0..24).map(|number| format!("d{number}")).collect();
    let listed: Vec<_> = destinations.iter().map(|name| (name.as_str(), URL, json!({}))).collect();
    let app = TestApp::with(&listed).await;
    let before = app.app.store.pipeline().await.unwrap().version;
    let changes = destinations.iter().enumerate().map(|(number, name)| {
        let path = match number % 3 {
            0 => format!("/destinations/website/{name}"),
            1 => format!("/mappings/website/{name}/everything"),
            _ => format!("/mappings/website/{name}/more"),
        };
        let body = match number % 3 {
            2 => json!({"source": "website", "destination": name, "name": "more", "url": URL}),
            _ => json!({"enabled": false}),
        };
        let request = match number % 3 {
            2 => Request::new("POST", "/mappings"),
            _ => Request::new("PATCH", path),
        };
        request.json(body).send(&app)
    });
    for answer in futures_util::future::join_all(changes).await {
        assert!(answer.status.is_success(), "{answer:?}");
    }
    assert_eq!(app.app.store.pipeline().await.unwrap().version, before + 24);

    // Those of one noun conflict when they name the version that they change.
    let path = "/destinations/website/d1";
    let tag = Request::new("GET", path).send(&app).await.is(200).tag();
    let changes = (0..8).map(|number| {
        let body = json!({"timeout_ms": 2_000 + number});
        Request::new("PATCH", path).header("if-match", tag.clone()).json(body).send(&app)
    });
    let answers = futures_util::future::join_all(changes).await;
    let mut statuses: Vec<_> = answers.iter().map(|it| it.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    app.stop().await;
}

#[tokio::test]
async fn an_export_applied_again_is_no_change() {
    let app = Builder::new().start().await;
    let mapping = |name: &str| {
        json!({"name": name, "url": URL, "method": "PUT",
        "trigger": "type = \"track\"", "headers": {"X-B": "1", "X-A": {"@path": "$.userId"}},
        "data": {"b": {"@path": "$.event"}, "a": 1},
        "function": {"source": "function onTrack(e) {\r\n  return e\r\n}", "settings": {"z": 1}},
        "batching": {"size": 7, "linger_ms": 5}})
    };
    let oauth = json!({"kind": "client_credentials", "token_url": "http://127.0.0.1:9/token",
        "client_id": "it", "client_secret": {"value": "cl13nt"}, "scopes": ["a"],
        "parameters": {"audience": "x=y"}});
    app.apply(json!({"sources": [
        {"name": "website", "enabled": false, "destinations": [
            {"name": "crm", "shared_secret": {"value": "s3cret-of-crm"}, "timeout_ms": 2_000,
             "rate_per_second": 5, "policy": "any", "auth": oauth,
             "secret_headers": {"x-key": {"value": "k3y"}},
             "mappings": [mapping("b"), mapping("a")]},
            {"name": "bearer", "enabled": false, "window_ms": 60_000, "max_in_flight": 3,
             "auth": {"kind": "bearer", "token": {"value": "t0ken"}},
             "mappings": [{"name": "everything", "url": URL, "enabled": false}]},
            {"name": "plain"},
        ]},
        {"name": "empty"},
    ]}))
    .await;
    let before = app.app.store.pipeline().await.unwrap().version;
    let export = get(&app, "/pipeline").await;
    for (document, prune) in
        [(&export, false), (&export, true), (&json!({"sources": export["sources"]}), true)]
    {
        let (status, answer) = post(&app, json!({"document": document, "prune": prune})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!((&answer["changed"], &answer["lines"]), (&json!(false), &json!([])));
    }
    assert_eq!(app.app.store.pipeline().await.unwrap().version, before);
    // It is a document: what is edited in it is what changes.
    let mut edited = export;
    edited["sources"][1]["destinations"][1]["settings"]["timeout_ms"] = json!(3_000);
    edited["sources"][1]["destinations"][1]["mappings"][0]["definition"]["method"] = json!("PATCH");
    let (_, answer) = post(&app, json!({"document": edited, "prune": true})).await;
    let lines = answer["lines"].as_array().unwrap().iter();
    let details: Vec<_> = lines.map(|line| line["details"][0].as_str().unwrap()).collect();
    assert_eq!(details, ["timeout_ms: 2000 → 3000", "method: PUT → PATCH"]);
    app.stop().await;
}

#[tokio::test]
async fn only_distinct_new_host_names_are_looked_up() {
    let names: Vec<String> = (0..40).map(|number| format!("host-{number}.test")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let resolver = TableResolver::on_loopback(&all);
    let app = Builder::new().resolver(Arc::clone(&resolver) as _).start().await;
    let urls: Vec<String> = names.iter().map(|name| format!("http://{name}/hook")).collect();
    let destinations: Vec<_> =
        (0..80).map(|number| (format!("d{number}"), urls[number % 40].as_str())).collect();
    let listed: Vec<_> =
        destinations.iter().map(|(name, url)| (name.as_str(), *url, json!({}))).collect();
    app.apply(pipeline(&listed)).await;
    let mut looked_up = resolver.lookups();
    looked_up.sort();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(looked_up, expected, "each once");
    let mut changed = pipeline(&listed);
    let mapping = &mut changed["sources"][0]["destinations"][0]["mappings"][0];
    mapping["url"] = json!("http://host-0.test/other");
    app.apply(changed.clone()).await;
    Request::new("PATCH", "/destinations/website/d1")
        .json(json!({"timeout_ms": 2_000}))
        .send(&app)
        .await
        .is(200);
    assert_eq!(resolver.lookups().len(), 40, "what is stored is not looked up again");

    // A refused name is a fault at each URL that has it.
    resolver.set("inner.test", vec![Answer::addresses(&["10.0.0.1"])]);
    for number in [3, 5] {
        changed["sources"][0]["destinations"][number]["mappings"][0]["url"] =
            json!("https://inner.test/");
    }
    let (status, problem) = post(&app, json!({"document": changed})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let faults = problem["faults"].as_array().unwrap().iter();
    let paths: Vec<_> = faults.map(|fault| fault["path"].as_str().unwrap()).collect();
    let path = |number| format!("sources[0].destinations[{number}].mappings[0].url");
    assert_eq!(paths, [path(3), path(5)]);
    assert_eq!(resolver.lookups().len(), 41);
    app.stop().await;
}

#[tokio::test]
async fn host_names_are_looked_up_within_one_budget() {
    let resolver = Arc::new(TableResolver::default());
    let names: Vec<String> = (0..200).map(|number| format!("http://slow-{number}.test/")).collect();
    for number in 0..200 {
        resolver.set(&format!("slow-{number}.test"), vec![Answer::Never]);
    }
    let app = Builder::new().resolver(resolver as _).start().await;
    let destinations: Vec<_> =
        names.iter().enumerate().map(|(number, url)| (format!("d{number}"), url)).collect();
    let listed: Vec<_> =
        destinations.iter().map(|(name, url)| (name.as_str(), url.as_str(), json!({}))).collect();
    // One name after another, or in more than one round, would not end before the client gives up.
    app.apply(pipeline(&listed)).await;
    assert_eq!(app.app.store.pipeline().await.unwrap().destinations.len(), 200);
    app.stop().await;
}

#[tokio::test]
async fn events_are_accepted_while_a_large_document_is_applied() {
    let app = TestApp::with(&[("crm", URL, json!({"enabled": false}))]).await;
    let sources: Vec<_> = (0..600)
        .map(|number| {
            json!({"name": format!("s{number}"), "destinations": [
                {"name": "d", "mappings": [{"name": "m", "url": URL}]},
            ]})
        })
        .collect();
    let request = json!({"document": {"sources": sources}});
    let done = std::cell::Cell::new(false);
    let applying = async {
        let answer = post(&app, request.clone()).await;
        done.set(true);
        answer
    };
    let sending = async {
        let mut events = 0;
        while !done.get() {
            app.track(&format!("e-{events}")).await;
            events += 1;
        }
        events
    };
    let ((status, answer), events) = futures_util::future::join(applying, sending).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["write_keys"].as_array().unwrap().len(), 600);
    assert!(events >= 3, "{events}");
    assert_eq!(post(&app, request).await.1["changed"], json!(false));
    // Removed in parts too, each with its audit entry.
    let kept = json!({"sources": [{"name": "website", "destinations": [
        {"name": "crm", "enabled": false, "mappings": [{"name": "everything", "url": URL}]},
    ]}]});
    let (_, answer) = post(&app, json!({"document": kept, "prune": true})).await;
    assert_eq!(answer["changed"], json!(true));
    let pipeline = app.app.store.pipeline().await.unwrap();
    assert_eq!((pipeline.sources.len(), pipeline.mappings.len()), (1, 1));
    assert_eq!(app.app.store.verify_audit().await.unwrap().broken, None);
    app.stop().await;
}
