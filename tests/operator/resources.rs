//! Sources, destinations and mappings one by one: create, read, replace, patch, remove, with ETags
//! and the validation of whole documents.

use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};
use crate::support::request::{Answer, Request};

const SOURCE: &str = "/sources/website";
const DESTINATION: &str = "/destinations/website/warehouse";
const MAPPING: &str = "/mappings/website/warehouse/everything";
const URL: &str = "http://127.0.0.1:9/hook";

async fn get(app: &TestApp, path: &str) -> Answer {
    Request::new("GET", path).send(app).await
}

async fn send(app: &TestApp, method: &'static str, path: &str, body: Value) -> Answer {
    Request::new(method, path).json(body).send(app).await
}

fn mapping(name: &str) -> Value {
    json!({"source": "website", "destination": "warehouse", "name": name, "url": URL})
}

/// One of each.
async fn set_up() -> TestApp {
    let app = Builder::new().start().await;
    send(&app, "POST", "/sources", json!({"name": "website"})).await.is(201);
    let destination = json!({"source": "website", "name": "warehouse"});
    send(&app, "POST", "/destinations", destination).await.is(201);
    send(&app, "POST", "/mappings", mapping("everything")).await.is(201);
    app
}

#[tokio::test]
async fn every_resource_can_be_created_read_changed_and_removed() {
    let app = Builder::new().start().await;
    let made = send(&app, "POST", "/sources", json!({"name": "web site"})).await.is(201);
    assert_eq!(made.header("location"), Some("/api/v1/sources/web%20site"));
    let key = made.body["write_key"].as_str().expect("shown once").to_owned();
    let read = get(&app, "/sources/web%20site").await.is(200);
    assert_eq!(read.tag(), made.tag());
    assert!(!read.body.to_string().contains(&key), "and never again");

    let body = json!({"source": "web site", "name": "crm", "timeout_ms": 2000});
    let made = send(&app, "POST", "/destinations", body).await.is(201);
    assert_eq!(made.header("location"), Some("/api/v1/destinations/web%20site/crm"));
    let body = json!({"source": "web site", "destination": "crm", "name": "all", "url": URL});
    let made = send(&app, "POST", "/mappings", body).await.is(201);
    assert_eq!((&made.body["revision"], &made.body["method"]), (&json!(1), &json!("POST")));

    let path = "/destinations/web%20site/crm";
    let changed = send(&app, "PATCH", path, json!({"enabled": false})).await.is(200);
    assert_eq!(
        (&changed.body["enabled"], &changed.body["timeout_ms"]),
        (&json!(false), &json!(2000))
    );
    let replaced = send(&app, "PUT", path, json!({"max_in_flight": 3})).await.is(200);
    let found =
        (&replaced.body["enabled"], &replaced.body["timeout_ms"], &replaced.body["max_in_flight"]);
    assert_eq!(found, (&json!(true), &json!(5000), &json!(3)), "what is left out is the default");

    for (list, found) in [("/sources", "web site"), ("/destinations?source=web%20site", "crm")] {
        assert_eq!(get(&app, list).await.is(200).body["items"][0]["name"], found);
    }
    let listed = get(&app, "/mappings?destination=crm").await.is(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);

    Request::new("DELETE", "/sources/web%20site").send(&app).await.is(204);
    for gone in ["/sources/web%20site", path, "/mappings/web%20site/crm/all"] {
        get(&app, gone).await.is(404);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_resource_that_was_read_can_be_put_back_unchanged() {
    let app = set_up().await;
    let secrets = json!({
        "shared_secret": {"value": "a-secret"},
        "auth": {"kind": "bearer", "token": {"value": "the-token"}},
        "secret_headers": {"X-Key": {"value": "the-key"}},
    });
    send(&app, "PATCH", DESTINATION, secrets).await.is(200);
    for path in [SOURCE, DESTINATION, MAPPING] {
        let read = get(&app, path).await.is(200);
        for secret in ["a-secret", "the-token", "the-key"] {
            assert!(!read.body.to_string().contains(secret), "{path}");
        }
        let again = send(&app, "PUT", path, read.body.clone()).await.is(200);
        assert_eq!((again.tag(), &again.body), (read.tag(), &read.body), "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn kept_secrets_stay_and_secrets_left_out_are_removed() {
    let app = set_up().await;
    let given = json!({
        "shared_secret": {"value": "a-secret"},
        "secret_headers": {"x-key": {"value": "one"}, "x-tenant": {"value": "two"}},
    });
    send(&app, "PATCH", DESTINATION, given).await.is(200);
    let patch = json!({"secret_headers": {"x-key": null}, "timeout_ms": 1000});
    let read = send(&app, "PATCH", DESTINATION, patch).await.is(200);
    assert_eq!(read.body["shared_secret"], "kept");
    assert_eq!(read.body["secret_headers"], json!({"x-tenant": "kept"}));
    let read = send(&app, "PUT", DESTINATION, json!({})).await.is(200);
    assert_eq!((read.body.get("shared_secret"), read.body.get("secret_headers")), (None, None));
    for (body, path) in [
        (json!({"shared_secret": "kept"}), "shared_secret"),
        (json!({"secret_headers": {"x-key": "kept"}}), "secret_headers.x-key"),
        (json!({"auth": {"kind": "bearer", "token": "kept"}}), "auth.token"),
    ] {
        let faults = send(&app, "PUT", DESTINATION, body).await.faults();
        assert_eq!(faults, [(path.to_owned(), "there is no stored secret to keep".to_owned())]);
    }
    app.stop().await;
}

#[tokio::test]
async fn rotation_shows_the_new_secret_once_and_signs_with_both_during_the_overlap() {
    let app = set_up().await;
    let before = get(&app, SOURCE).await.tag();
    let rotated =
        send(&app, "POST", "/sources/website/rotate-write-key", json!(null)).await.is(200);
    let key = rotated.body["write_key"].as_str().expect("shown once");
    assert!(key.starts_with("wk_"), "{key}");
    assert_ne!(rotated.tag(), before, "the tag changes");
    let path = "/destinations/website/warehouse/rotate-shared-secret";
    for secrets in 1..=2 {
        let rotated = send(&app, "POST", path, json!(null)).await.is(200);
        let secret = rotated.body["shared_secret"].as_str().expect("shown once");
        assert!(secret.starts_with("whsec_"), "{secret}");
        let pipeline = app.app.store.pipeline().await.unwrap();
        assert_eq!(pipeline.shared_secrets.len(), secrets, "the one before signs as well");
    }
    send(&app, "POST", "/sources/other/rotate-write-key", json!(null)).await.is(404);
    app.stop().await;
}

#[tokio::test]
async fn a_stale_etag_is_refused_and_changes_nothing() {
    let app = set_up().await;
    for path in [SOURCE, DESTINATION, MAPPING] {
        let read = get(&app, path).await;
        let change = |tag: String| {
            let patch = json!({"enabled": false});
            Request::new("PATCH", path).header("if-match", tag).json(patch)
        };
        let known = Request::new("GET", path).header("if-none-match", read.tag());
        known.send(&app).await.is(304);
        let changed = change(format!("\"other\", {}", read.tag())).send(&app).await.is(200);
        let stale = change(read.tag()).send(&app).await.is(412);
        assert_eq!(stale.body["code"], "stale");
        assert!(stale.body["detail"].as_str().unwrap().contains("read it again"), "{stale:?}");
        change(format!("W/{}", changed.tag())).send(&app).await.is(412);
        let removal = Request::new("DELETE", path).header("if-match", read.tag());
        removal.send(&app).await.is(412);
        assert_eq!(get(&app, path).await.is(200).tag(), changed.tag(), "{path}");
        change("*".to_owned()).send(&app).await.is(200);
        assert_eq!(change("bare".to_owned()).send(&app).await.faults()[0].0, "If-Match");
    }
    app.stop().await;
}

#[tokio::test]
async fn every_error_names_its_field() {
    let app = set_up().await;
    let long = "n".repeat(101);
    let cases = [
        ("PUT", SOURCE, json!([]), ""),
        ("PATCH", SOURCE, json!("x"), ""),
        ("PUT", SOURCE, json!({"enabled": "yes"}), "enabled"),
        ("PUT", SOURCE, json!({"name": "a/b"}), "name"),
        ("PUT", SOURCE, json!({"destinations": []}), "destinations"),
        ("PUT", SOURCE, json!({"write_key": {"value": "a b"}}), "write_key"),
        ("PATCH", SOURCE, json!({"write_key": {"env": "HOME"}}), "write_key"),
        ("POST", "/sources", json!({}), "name"),
        ("POST", "/sources", json!({"name": long}), "name"),
        ("POST", "/sources", json!({"name": "a/b"}), "name"),
        ("POST", "/destinations", json!({"name": 1}), "source"),
        ("PATCH", DESTINATION, json!({"timeout_ms": 1}), "timeout_ms"),
        ("PATCH", DESTINATION, json!({"auth": {"kind": "magic"}}), "auth.kind"),
        ("PATCH", DESTINATION, json!({"auth": {"kind": "bearer"}}), "auth.token"),
        ("PATCH", DESTINATION, json!({"shared_secret": {"value": "whsec_%"}}), "shared_secret"),
        ("PATCH", MAPPING, json!({"url": "ftp://a.test"}), "url"),
        ("PATCH", MAPPING, json!({"url": "http://10.0.0.1/"}), "url"),
        ("PATCH", MAPPING, json!({"url": null}), ""),
        ("PATCH", MAPPING, json!({"trigger": "type = "}), "trigger"),
        ("PATCH", MAPPING, json!({"method": "GET"}), "method"),
        ("PATCH", MAPPING, json!({"headers": {"X-Api-Key": "abc"}}), "headers.X-Api-Key"),
        ("PATCH", MAPPING, json!({"function": {"source": "("}}), "function.source"),
        ("PATCH", MAPPING, json!({"no_such": 1}), "no_such"),
    ];
    for (method, path, body, field) in cases {
        let faults = send(&app, method, path, body.clone()).await.faults();
        assert!(!faults[0].1.is_empty());
        assert_eq!(faults[0].0, field, "{method} {path} {body}: {faults:?}");
    }
    app.stop().await;
}

#[tokio::test]
async fn creating_an_existing_resource_or_one_without_parent_is_refused() {
    let app = set_up().await;
    send(&app, "POST", "/sources", json!({"name": "website"})).await.is(409);
    send(&app, "POST", "/mappings", mapping("everything")).await.is(409);
    let nowhere = json!({"source": "other", "name": "warehouse"});
    let missing = send(&app, "POST", "/destinations", nowhere).await.is(404);
    assert_eq!(missing.body["detail"], "there is no source other");
    send(&app, "PUT", "/sources/other", json!({})).await.is(404);
    send(&app, "PATCH", "/mappings/website/warehouse/other", json!({})).await.is(404);
    Request::new("DELETE", "/destinations/website/other").send(&app).await.is(404);
    app.stop().await;
}

#[tokio::test]
async fn the_limit_of_mappings_applies_to_single_creates() {
    let app = Builder::new().settings(|it| it.mappings_per_destination = 2).start().await;
    send(&app, "POST", "/sources", json!({"name": "website"})).await.is(201);
    let destination = json!({"source": "website", "name": "warehouse"});
    send(&app, "POST", "/destinations", destination).await.is(201);
    for name in ["a", "b"] {
        send(&app, "POST", "/mappings", mapping(name)).await.is(201);
    }
    let faults = send(&app, "POST", "/mappings", mapping("c")).await.faults();
    assert!(faults[0].1.contains("mappings_per_destination"), "{faults:?}");
    app.stop().await;
}

#[tokio::test]
async fn conflicts_of_auth_and_mapping_headers_are_found_from_either_side() {
    let app = set_up().await;
    let header = json!({"headers": {"Authorization": {"@path": "$.context.token"}}});
    send(&app, "PATCH", MAPPING, header).await.is(200);
    let auth = json!({"auth": {"kind": "bearer", "token": {"value": "t"}}});
    let faults = send(&app, "PATCH", DESTINATION, auth).await.faults();
    assert_eq!(faults[0].0, "mappings.everything.headers.Authorization");
    app.stop().await;
}

#[tokio::test]
async fn revisions_are_listed_compared_and_rolled_back() {
    let app = set_up().await;
    for trigger in ["type = \"track\"", "type = \"page\""] {
        send(&app, "PATCH", MAPPING, json!({"trigger": trigger})).await.is(200);
    }
    send(&app, "PATCH", MAPPING, json!({"enabled": false})).await.is(200);
    let path = |verb: &str| format!("{MAPPING}/{verb}");
    let listed = get(&app, &path("revisions?limit=2")).await.is(200);
    let numbers = |answer: &Answer| -> Vec<u64> {
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|item| item["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&listed), [3, 2], "enabling and disabling makes none");
    assert_eq!(listed.body["items"][0]["current"], true);
    let next = listed.body["next"].as_str().unwrap();
    let rest = get(&app, &path(&format!("revisions?before={next}"))).await.is(200);
    assert_eq!((numbers(&rest), &rest.body["next"]), (vec![1], &Value::Null));

    let one = get(&app, &path("revisions/2")).await.is(200);
    assert_eq!(one.body["definition"]["trigger"], "type = \"track\"");
    let diff = get(&app, &path("diff?from=1&to=2")).await.is(200);
    let expected = json!([{"path": "/trigger", "from": "", "to": "type = \"track\""}]);
    assert_eq!(diff.body["changes"], expected);
    get(&app, &path("revisions/9")).await.is(404);
    get(&app, &path("diff?from=1&to=9")).await.is(404);

    let tag = get(&app, MAPPING).await.tag();
    let back = || Request::new("POST", path("roll-back")).json(json!({"revision": 1}));
    let rolled = back().header("if-match", tag.clone()).send(&app).await.is(200);
    let found = (&rolled.body["revision"], &rolled.body["trigger"], &rolled.body["enabled"]);
    assert_eq!(found, (&json!(4), &json!(""), &json!(false)), "a new revision, as the old one");
    back().header("if-match", tag).send(&app).await.is(412);
    back().json(json!({"revision": 9})).send(&app).await.is(404);
    app.stop().await;
}
