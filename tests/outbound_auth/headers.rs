//! Secret headers of a destination, and the refusal of secrets in mappings.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

async fn post(app: &TestApp, url: &str, more: Value, prune: bool) -> (StatusCode, Value) {
    let request = json!({"document": pipeline(&[("crm", url, more)]), "prune": prune});
    app.client.post("/api/v1/pipeline", &request).await.unwrap()
}

#[tokio::test]
async fn secret_headers_are_sent_with_every_request_and_masked_in_records() {
    let receiver = Receiver::start(Behaviour::ok().body("you sent k3y-of-the-receiver")).await;
    let app = Builder::new().start().await;
    let url = receiver.url("/");
    let more = json!({"secret_headers": {
        "X-Api-Key": {"value": "k3y-of-the-receiver"}, "X-Tenant": {"value": "ten4nt"},
    }});
    let (status, answer) = post(&app, &url, more, false).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    app.track("one").await;
    let row = app.until_settled(1).await.remove(0);
    let request = receiver.requests().remove(0);
    assert_eq!(request.header("x-api-key"), Some("k3y-of-the-receiver"));
    assert_eq!(request.header("x-tenant"), Some("ten4nt"));
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert!(made.request_headers.contains("x-api-key: ***\n"), "{}", made.request_headers);
    assert!(made.request_headers.contains("x-tenant: ***\n"), "{}", made.request_headers);
    assert_eq!(made.response_body.as_ref(), b"you sent ***");
    let path = "/api/v1/mappings/website/crm/everything/tests";
    let (_, preview) = app.client.post(path, &json!({"sample": "track"})).await.unwrap();
    let headers = preview["request"]["headers"].as_str().unwrap();
    assert!(headers.contains("x-api-key: ***\n"), "{headers}");
    let (_, shown) = app.client.get("/api/v1/pipeline").await.unwrap();
    let names = &shown["sources"][0]["destinations"][0]["secret_headers"];
    assert_eq!(names, &json!(["X-Api-Key", "X-Tenant"]));

    // Omitted headers are kept; given ones replace all; pruned ones are removed.
    let details = |answer: &Value| answer["lines"][0]["details"].clone();
    let (_, answer) = post(&app, &url, json!({}), false).await;
    assert_eq!(answer["changed"], json!(false));
    let more = json!({"secret_headers": {"x-api-key": {"value": "an0ther"}}});
    let (_, answer) = post(&app, &url, more, false).await;
    let expected = json!([
        "secret_header_names: [\"X-Api-Key\",\"X-Tenant\"] → []",
        "secret_headers.x-api-key: changed",
        "secret_headers.x-tenant: removed",
    ]);
    assert_eq!(details(&answer), expected);
    let (_, answer) = post(&app, &url, json!({}), true).await;
    assert_eq!(details(&answer), json!(["secret_headers.x-api-key: removed"]));
    app.track("two").await;
    app.until_settled(2).await;
    assert_eq!(receiver.requests()[1].header("x-api-key"), None);
}

#[tokio::test]
async fn credentials_in_a_mapping_are_refused() {
    let app = Builder::new().start().await;
    let url = "http://127.0.0.1:9/hook";
    let mapping = |headers: Value, more: Value| {
        let mut more = more;
        more["mappings"] = json!([{"name": "m", "url": url, "headers": headers}]);
        more
    };
    let bearer = json!({"auth": {"kind": "bearer", "token": {"value": "x"}}});
    let refused = [
        (json!({"Authorization": "Bearer s3cret"}), json!({})),
        (json!({"X-Api-Key": "s3cret"}), json!({})),
        (json!({"Cookie": {"@literal": "s3cret"}}), json!({})),
        (json!({"authorization": {"@path": "$.context.token"}}), bearer),
        (json!({"X-Key": {"@path": "$.k"}}), json!({"secret_headers": {"x-key": {"value": "x"}}})),
    ];
    for (headers, more) in refused {
        let name = headers.as_object().unwrap().keys().next().unwrap().clone();
        let (status, answer) = post(&app, url, mapping(headers, more), false).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {answer}");
        let path = format!("sources[0].destinations[0].mappings[0].headers.{name}");
        assert!(answer["faults"].to_string().contains(&path), "{answer}");
        assert!(!answer.to_string().contains("s3cret"), "{answer}");
    }
    let plain = json!({"X-Team": "growth", "Idempotency-Key": "once"});
    let (status, answer) = post(&app, url, mapping(plain, json!({})), false).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}
