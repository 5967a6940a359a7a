//! Credentials go only to origins that an operator wrote down; values of events change no origin.

use http::StatusCode;
use postrider::domain::delivery::Reason;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

const BEARER: &str = "t0ken-of-the-operator";

fn bearer() -> Value {
    json!({"kind": "bearer", "token": {"value": BEARER}})
}

/// A pipeline of one destination whose mapping has this URL.
fn with_url(url: Value, more: Value) -> Value {
    let mut document = pipeline(&[("crm", "", more)]);
    document["sources"][0]["destinations"][0]["mappings"][0]["url"] = url;
    document
}

async fn apply(app: &TestApp, document: Value, dry_run: bool) -> (StatusCode, Value) {
    let request = json!({"document": document, "dry_run": dry_run});
    app.client.post("/api/v1/pipeline", &request).await.unwrap()
}

async fn track(app: &TestApp, name: &str, properties: Value) {
    let event = json!({"event": name, "userId": "u1", "messageId": name, "properties": properties});
    assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
}

#[tokio::test]
async fn a_mapping_whose_host_an_event_chooses_needs_allowed_hosts_with_any_credential() {
    let app = Builder::new().start().await;
    let credentials = [
        json!({"auth": bearer()}),
        json!({"secret_headers": {"X-Api-Key": {"value": "k3y-of-it"}}}),
        json!({"secret_parameters": {"sig": {"value": "s1g-of-it"}}}),
    ];
    let urls = [
        json!({"@path": "$.properties.url"}),
        json!({"@template": "{{properties.url}}/hook"}),
        json!({"@template": "https://{{properties.region}}.example.com/hook"}),
        json!({"@template": "https://hooks.example.com{{properties.path}}"}),
        json!({"@if": {
            "exists": {"@path": "$.properties.url"},
            "then": {"@path": "$.properties.url"},
            "else": "https://127.0.0.1:9/",
        }}),
        json!({"@replace": {"pattern": "x", "value": {"@template": "https://a.test/{{userId}}"}}}),
    ];
    for more in &credentials {
        for url in &urls {
            let (status, answer) = apply(&app, with_url(url.clone(), more.clone()), true).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url} {more}");
            let fault = &answer["faults"][0];
            assert_eq!(fault["path"], "sources[0].destinations[0].mappings[0].url", "{answer}");
            assert!(fault["message"].as_str().unwrap().contains("allowed_hosts"), "{fault}");
            let mut allowed = more.clone();
            allowed["allowed_hosts"] = json!(["*.example.com", "127.0.0.1:9"]);
            let (status, answer) = apply(&app, with_url(url.clone(), allowed), true).await;
            assert_eq!(status, StatusCode::OK, "{url}: {answer}");
        }
        let literal = json!({"@template": "https://127.0.0.1:9/{{userId}}?q={{event}}"});
        let (status, answer) = apply(&app, with_url(literal, more.clone()), true).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    for url in urls {
        let (status, answer) = apply(&app, with_url(url, json!({})), true).await;
        assert_eq!(status, StatusCode::OK, "without credentials: {answer}");
    }
}

#[tokio::test]
async fn no_event_sends_a_token_to_a_host_that_is_not_allowed() {
    let (ours, theirs) =
        (Receiver::start(Behaviour::ok()).await, Receiver::start(Behaviour::ok()).await);
    let app = Builder::new().start().await;
    let more = json!({"auth": bearer(), "allowed_hosts": [ours.address().to_string()]});
    app.apply(with_url(json!({"@path": "$.properties.url"}), more)).await;
    track(&app, "stolen", json!({"url": theirs.url("/steal")})).await;
    track(&app, "good", json!({"url": ours.url("/hook")})).await;
    let rows = app.until_settled(2).await;
    assert_eq!(rows[0].delivery.reason, Some(Reason::Address));
    let attempt = app.attempts(rows[0].delivery.id).await.remove(0);
    let error = attempt.result.error.unwrap();
    assert!(error.contains("allowed_hosts"), "{error}");
    assert_eq!(theirs.connections(), 0, "not even a connection");
    let request = ours.requests().remove(0);
    assert_eq!(request.header("authorization"), Some(format!("Bearer {BEARER}").as_str()));
    app.ledger().await;
}

#[tokio::test]
async fn credentials_that_are_added_or_kept_are_checked_against_the_stored_mappings() {
    let app = Builder::new().start().await;
    let url = json!({"@path": "$.properties.url"});
    app.apply(with_url(url.clone(), json!({}))).await;
    let patch = json!({"secret_headers": {"X-Api-Key": {"value": "k3y-of-it"}}});
    let path = "/api/v1/destinations/website/crm";
    let patched = async |patch: &Value| {
        let headers = [("content-type", "application/json")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let body = bytes::Bytes::from(patch.to_string());
        let method = http::Method::PATCH;
        app.client.request(method, path, headers.into_iter().collect(), body).await.unwrap()
    };
    assert_eq!(patched(&patch).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut allowed = patch;
    allowed["allowed_hosts"] = json!(["127.0.0.1"]);
    assert_eq!(patched(&allowed).await.status, StatusCode::OK);
    // The document leaves the secret headers out, so they are kept.
    let (status, answer) = apply(&app, with_url(url, json!({})), false).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
}

#[tokio::test]
async fn credentials_go_over_http_only_where_the_operator_says_so() {
    let app = Builder::new().start().await;
    for url in [json!("http://8.8.8.8/hook"), json!({"@template": "http://8.8.8.8/{{userId}}"})] {
        let more = json!({"auth": bearer()});
        let (status, answer) = apply(&app, with_url(url.clone(), more), true).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert!(answer.to_string().contains("allow_http"), "{answer}");
        let more = json!({"auth": bearer(), "allow_http": true});
        let (status, answer) = apply(&app, with_url(url.clone(), more), true).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (status, answer) = apply(&app, with_url(url, json!({})), true).await;
        assert_eq!(status, StatusCode::OK, "without credentials: {answer}");
    }
}

#[tokio::test]
async fn values_in_a_url_are_encoded_where_they_stand_and_change_no_origin() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = Builder::new().start().await;
    let template = receiver.url("/u/{{properties.id}}/x?q={{properties.q}}");
    app.apply(with_url(json!({"@template": template}), json!({}))).await;
    track(&app, "one", json!({"id": "a/b?c=d#e", "q": "1&admin=true"})).await;
    app.until_settled(1).await;
    assert_eq!(receiver.requests()[0].path, "/u/a%2Fb%3Fc%3Dd%23e/x?q=1%26admin%3Dtrue");
    track(&app, "up", json!({"id": "..", "q": "1"})).await;
    let rows = app.until_settled(2).await;
    assert_eq!(rows[1].delivery.reason, Some(Reason::Render));

    let mut raw = with_url(json!({"@template": template}), json!({}));
    raw["sources"][0]["destinations"][0]["mappings"][0]["url_values"] = json!("raw");
    app.apply(raw).await;
    track(&app, "raw", json!({"id": "a/b", "q": "1&admin=true"})).await;
    app.until_settled(3).await;
    assert_eq!(receiver.requests()[1].path, "/u/a/b/x?q=1&admin=true");

    // Directly behind a host, a value does not extend it.
    let origin = receiver.url("");
    let behind = format!("{}{{{{properties.id}}}}", origin.trim_end_matches('/'));
    let mut behind = with_url(json!({"@template": behind}), json!({}));
    behind["sources"][0]["destinations"][0]["mappings"][0]["url_values"] = json!("raw");
    app.apply(behind).await;
    for (number, id) in ["@evil.test/", ".evil.test/", "9/"].into_iter().enumerate() {
        track(&app, &format!("evil-{number}"), json!({"id": id})).await;
        let rows = app.until_settled(4 + number).await;
        assert_eq!(rows[3 + number].delivery.reason, Some(Reason::Render), "{id}");
    }
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn secret_parameters_are_sent_with_every_request_and_masked_everywhere() {
    let script = |request: &crate::support::receiver::Received| {
        Behaviour::ok().header("location", &request.path).body(request.path.clone())
    };
    let receiver = Receiver::start(crate::support::receiver::by_request(script)).await;
    let app = Builder::new().start().await;
    let more = json!({"secret_parameters": {"k": {"value": "s3cret/+ value"}}});
    let template = json!({"@template": receiver.url("/hook?id={{userId}}&token={{event}}")});
    app.apply(with_url(template, more)).await;
    app.track("one").await;
    let row = app.until_settled(1).await.remove(0);
    let path = "/hook?id=u1&token=one&k=s3cret%2F%2B%20value";
    assert_eq!(receiver.requests()[0].path, path);
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert_eq!(made.url, receiver.url("/hook?id=u1&token=***&k=***"));
    assert_eq!(made.response_body.as_ref(), b"/hook?id=u1&token=one&k=***");
    assert!(!made.response_headers.contains("s3cret"), "{}", made.response_headers);

    let (_, shown) = app.client.get("/api/v1/pipeline").await.unwrap();
    let shown = &shown["sources"][0]["destinations"][0];
    assert_eq!(
        (&shown["secret_parameters"], &shown["secret_headers"]),
        (&json!(["k"]), &json!([]))
    );
    let (_, detail) = app.client.get("/api/v1/destinations/website/crm").await.unwrap();
    assert_eq!(detail["secret_parameters"], json!({"k": "kept"}));

    // A literal one in a mapping is refused, whatever the spelling of its name.
    for query in ["token=abc", "x=1&apiKey=abc", "X-Amz-Signature=abc", "api%5Fkey=abc"] {
        let url = json!(receiver.url(&format!("/hook?{query}")));
        let (status, answer) = apply(&app, with_url(url, json!({})), true).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(answer.to_string().contains("secret_parameters"), "{answer}");
        assert!(!answer.to_string().contains("abc"), "{answer}");
    }
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_is_not_quoted() {
    let app = Builder::new().start().await;
    let secret = "hunter2-of-the-operator";
    let destination = |field: &str, value: Value| {
        let mut document = pipeline(&[("crm", "https://127.0.0.1:9/", json!({}))]);
        document["sources"][0]["destinations"][0][field] = value;
        document
    };
    let mut documents = vec![
        destination("shared_secret", json!(secret)),
        destination("shared_secret", json!({"valu": secret})),
        destination("shared_secret", json!({secret: "x"})),
        destination("shared_secret", json!([secret])),
        destination("shared_secret", json!({"value": [secret]})),
        destination("secret_headers", json!(secret)),
        destination("secret_headers", json!({"X-Key": secret})),
        destination("secret_parameters", json!({"k": {"env": [secret]}})),
        destination("auth", json!(secret)),
        destination("auth", json!({"kind": "bearer", "token": secret})),
    ];
    let mut source = pipeline(&[]);
    source["sources"][0]["write_key"] = json!(secret);
    documents.push(source);
    for document in documents {
        let (status, answer) = apply(&app, document.clone(), true).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{document}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    let mut number = pipeline(&[]);
    number["sources"][0]["write_key"] = json!(8_675_309);
    let (_, answer) = apply(&app, number, true).await;
    assert!(!answer.to_string().contains("8675309"), "{answer}");
}
