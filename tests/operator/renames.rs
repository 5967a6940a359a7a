//! Renaming and removing sources, destinations and mappings that have deliveries waiting.

use http::StatusCode;
use postrider::domain::delivery::{Reason, State};
use serde_json::{Value, json};

use super::commands::ask;
use crate::support::app::{TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::request::Request;

fn document(url: &str) -> Value {
    json!({"sources": [{"name": "website", "write_key": {"value": WRITE_KEY}, "destinations": [
        {"name": "crm", "shared_secret": {"value": "s3cret-of-crm"}, "mappings": [
            {"name": "everything", "url": url},
        ]},
    ]}]})
}

/// Two deliveries wait for their second attempt.
async fn set_up() -> (TestApp, Receiver) {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = crate::support::app::Builder::new().start().await;
    app.apply(document(&receiver.url("/hook"))).await;
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        app.track(name).await;
        app.until_tried(number, 1).await;
    }
    receiver.set_script(Behaviour::ok());
    (app, receiver)
}

async fn post(app: &TestApp, request: Value) -> Value {
    let (status, answer) = app.client.post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn lines(answer: &Value) -> Vec<String> {
    let line = |line: &Value| {
        let (sign, what) = (line["sign"].as_str().unwrap(), line["what"].as_str().unwrap());
        let details = line["details"].as_array().into_iter().flatten();
        let details: Vec<_> = details.map(|it| it.as_str().unwrap()).collect();
        format!("{sign} {what}: {}", details.join(", "))
    };
    answer["lines"].as_array().unwrap().iter().map(line).collect()
}

/// The deliveries that waited are delivered.
async fn is_delivered(app: &TestApp, receiver: &Receiver) {
    let delivered = |row: &postrider::store::DeliveryRow| row.delivery.state == State::Delivered;
    loop {
        // Counted before the clock moves: what is due after that may be delivered at once.
        let rows = app.deliveries().await;
        if rows.iter().all(|row| row.delivery.due_at.is_none()) {
            break;
        }
        let before = rows.iter().filter(|row| delivered(row)).count();
        app.advance_to_due().await;
        app.until(|rows| rows.iter().filter(|row| delivered(row)).count() > before).await;
    }
    app.until_settled(2).await;
    assert_eq!(receiver.requests().len(), 4);
    assert_eq!(app.ledger().await.delivered, 2);
}

#[tokio::test]
async fn a_renamed_mapping_keeps_its_deliveries() {
    let (app, receiver) = set_up().await;
    let id = app.app.store.pipeline().await.unwrap().mappings[0].id;
    let mut renamed = document(&receiver.url("/hook"));
    let source = &mut renamed["sources"][0];
    source["name"] = json!("shop");
    source["renamed_from"] = json!("website");
    let destination = &mut source["destinations"][0];
    destination["name"] = json!("sales");
    destination["renamed_from"] = json!("crm");
    let mapping = &mut destination["mappings"][0];
    mapping["name"] = json!("all events");
    mapping["renamed_from"] = json!("everything");
    mapping["method"] = json!("PUT");
    let expected = [
        "change source shop: name: website → shop",
        "change destination shop/sales: name: crm → sales",
        "change mapping shop/sales/all events: name: everything → all events, method: POST → PUT",
    ];
    let request = json!({"document": renamed, "prune": true});
    let mut dry = request.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(lines(&post(&app, dry).await), expected);
    assert_eq!(lines(&post(&app, request.clone()).await), expected);
    assert_eq!(post(&app, request).await["changed"], json!(false), "a file is applied again");
    app.app.duties.clone().end_removed().await.unwrap();
    let pipeline = app.app.store.pipeline().await.unwrap();
    assert_eq!((pipeline.mappings[0].id, pipeline.mappings.len()), (id, 1));
    is_delivered(&app, &receiver).await;
    app.stop().await;
}

#[tokio::test]
async fn a_name_changed_beside_its_id_is_a_rename() {
    let (app, receiver) = set_up().await;
    let mut export = Request::new("GET", "/pipeline").send(&app).await.is(200).body;
    let destination = &mut export["sources"][0]["destinations"][0];
    let url = receiver.url("/hook");
    let more = json!({"name": "more", "url": url, "trigger": "type = \"page\""});
    destination["mappings"].as_array_mut().unwrap().push(more);
    post(&app, json!({"document": export, "prune": true})).await;
    // Both exchange their names, and a new one takes none of them.
    let mut export = Request::new("GET", "/pipeline").send(&app).await.is(200).body;
    let mappings = &mut export["sources"][0]["destinations"][0]["mappings"];
    mappings[0]["name"] = json!("more");
    mappings[1]["name"] = json!("everything");
    let answer = post(&app, json!({"document": export, "prune": true})).await;
    assert_eq!(
        lines(&answer),
        [
            "change mapping website/crm/more: name: everything → more",
            "change mapping website/crm/everything: name: more → everything",
        ]
    );
    is_delivered(&app, &receiver).await;
    app.stop().await;
}

#[tokio::test]
async fn a_rename_that_is_ambiguous_is_refused() {
    let (app, receiver) = set_up().await;
    let url = receiver.url("/hook");
    let mapping = |name: &str, from: &str| json!({"name": name, "url": url, "renamed_from": from});
    let fault = async |mappings: Value| {
        let mut document = document(&url);
        document["sources"][0]["destinations"][0]["mappings"] = mappings;
        let request = json!({"document": document});
        let (status, problem) = app.client.post("/api/v1/pipeline", &request).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let fault = &problem["faults"][0];
        let path =
            fault["path"].as_str().unwrap().trim_start_matches("sources[0].destinations[0].");
        format!("{path}: {}", fault["message"].as_str().unwrap())
    };
    let twice = json!([mapping("a", "everything"), mapping("b", "everything")]);
    assert_eq!(fault(twice).await, "mappings[1].name: everything is renamed twice");
    let more = json!({"source": "website", "destination": "crm", "name": "more", "url": url});
    Request::new("POST", "/mappings").json(more).send(&app).await.is(201);
    let both = fault(json!([mapping("more", "everything")])).await;
    assert_eq!(both, "mappings[0].renamed_from: everything and more exist both");
    // Where neither is stored, it is a new one.
    let mut other = document(&url);
    other["sources"][0]["destinations"][0]["mappings"] = json!([mapping("new", "never")]);
    let answer = post(&app, json!({"document": other})).await;
    assert!(lines(&answer).iter().any(|line| line.starts_with("add mapping website/crm/new")));
    app.stop().await;
}

#[tokio::test]
async fn a_resource_is_renamed_by_its_name() {
    let (app, receiver) = set_up().await;
    let mapping = "/mappings/website/crm/everything";
    let id = Request::new("GET", mapping).send(&app).await.is(200).body["id"].clone();
    let answer = Request::new("PATCH", mapping).json(json!({"name": "all"})).send(&app).await;
    assert_eq!(answer.is(200).body["id"], id);
    Request::new("GET", mapping).send(&app).await.is(404);
    let destination = "/destinations/website/crm";
    let answer = Request::new("PATCH", destination).json(json!({"name": "sales"})).send(&app).await;
    assert_eq!(answer.is(200).body["shared_secret"], "kept");
    let read = Request::new("GET", "/sources/website").send(&app).await.is(200);
    let mut body = read.body.clone();
    body["name"] = json!("shop");
    Request::new("PUT", "/sources/website")
        .header("if-match", read.tag())
        .json(body)
        .send(&app)
        .await
        .is(200);
    let found = Request::new("GET", "/mappings/shop/sales/all").send(&app).await.is(200);
    assert_eq!((&found.body["id"], &found.body["revision"]), (&id, &json!(1)));

    let other = json!({"source": "shop", "name": "crm"});
    Request::new("POST", "/destinations").json(other).send(&app).await.is(201);
    let taken = Request::new("PATCH", "/destinations/shop/crm").json(json!({"name": "sales"}));
    taken.send(&app).await.is(409);
    for name in ["", "a/b", " x"] {
        let wrong = Request::new("PATCH", "/destinations/shop/crm").json(json!({"name": name}));
        wrong.send(&app).await.is(422);
    }
    is_delivered(&app, &receiver).await;
    app.stop().await;
}

#[tokio::test]
async fn a_removal_tells_how_many_deliveries_wait_and_leaves_dead_letters() {
    let (app, receiver) = set_up().await;
    let mut bare = document(&receiver.url("/hook"));
    bare["sources"][0]["destinations"][0]["mappings"] = json!([]);
    let told = ["remove mapping website/crm/everything: \
                 2 deliveries wait: dead letters with reason removed"];
    let request = json!({"document": bare, "prune": true, "dry_run": true});
    assert_eq!(lines(&post(&app, request).await), told);
    let none = json!({"document": {"sources": []}, "prune": true, "dry_run": true});
    assert_eq!(
        lines(&post(&app, none).await),
        ["remove source website: 2 deliveries wait: dead letters with reason removed"]
    );
    let path = "/mappings/website/crm/everything";
    let dry = Request::new("DELETE", format!("{path}?dry_run=true")).send(&app).await.is(200);
    assert_eq!(lines(&dry.body), told);
    Request::new("DELETE", format!("{path}?dry_run=yes")).send(&app).await.is(422);
    assert_eq!(app.app.store.pipeline().await.unwrap().mappings.len(), 1);
    std::fs::write(app.dir.path().join("bare.json"), bare.to_string()).unwrap();
    let (code, stdout, stderr) = ask(&app, &["apply", "-f", "bare.json", "--prune"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2 deliveries wait: dead letters with reason removed"), "{stdout}");

    app.app.duties.clone().end_removed().await.unwrap();
    for row in app.deliveries().await {
        let found = row.delivery;
        assert_eq!((found.state, found.reason), (State::Dead, Some(Reason::Removed)));
    }
    let ledger = app.ledger().await;
    assert_eq!((ledger.dead, ledger.discarded), (2, 0));
    app.app.duties.clone().roll_up().await.unwrap();
    let listed = Request::new("GET", "/deliveries?reason=removed").send(&app).await.is(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    let (code, stdout, _) = ask(&app, &["redrive", "--reason", "removed", "--yes"]).await;
    assert!(code != 101, "{stdout}");
    assert_eq!(app.ledger().await.dead, 2, "there is no mapping to send them");
    app.stop().await;
}
