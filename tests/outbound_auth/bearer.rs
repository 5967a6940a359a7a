//! Static bearer tokens.

use http::StatusCode;
use serde_json::json;

use super::{apply, stage};
use crate::support::app::{Builder, pipeline};
use crate::support::oauth::OauthServer;
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn a_bearer_token_is_sent_and_recorded_masked() {
    let app = Builder::new().start().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let auth = json!({"auth": {"kind": "bearer", "token": {"value": "t0ken-of-the-operator"}}});
    let document = pipeline(&[("crm", &receiver.url("/"), auth)]);
    app.apply(document.clone()).await;
    app.track("one").await;
    let row = app.until_settled(1).await.remove(0);
    let request = receiver.requests().remove(0);
    assert_eq!(request.header("authorization"), Some("Bearer t0ken-of-the-operator"));
    assert!(request.header("x-signature").is_some(), "it is signed as well");
    let attempt = app.attempts(row.delivery.id).await.remove(0);
    assert!(attempt.made.request_headers.contains("authorization: ***\n"));

    // An omitted token is kept; a new one replaces it immediately.
    let mut kept = document.clone();
    kept["sources"][0]["destinations"][0]["auth"] = json!({"kind": "bearer"});
    app.apply(kept).await;
    app.track("two").await;
    app.until_settled(2).await;
    assert_eq!(receiver.requests()[1].header("authorization"), request.header("authorization"));
    let mut other = document;
    other["sources"][0]["destinations"][0]["auth"]["token"] = json!({"value": "another"});
    app.apply(other).await;
    app.track("three").await;
    app.until_settled(3).await;
    assert_eq!(receiver.requests()[2].header("authorization"), Some("Bearer another"));
    let (_, shown) = app.client.get("/api/v1/pipeline").await.unwrap();
    let shown = &shown["sources"][0]["destinations"][0];
    assert_eq!(shown["settings"]["auth"], json!({"kind": "bearer"}));
    assert_eq!(shown["has_credential"], json!(true));
}

#[tokio::test]
async fn a_refused_bearer_token_has_outcome_rejected_and_its_echo_is_masked() {
    let (app, server) =
        stage(|_| json!({"kind": "bearer", "token": {"value": "wr0ng-token"}})).await;
    app.track("one").await;
    let row = app.until_settled(1).await.remove(0);
    assert_eq!(row.delivery.reason.unwrap().as_str(), "rejected");
    assert_eq!(server.resource_requests().len(), 1, "there is no other token to try");
    let made = app.attempts(row.delivery.id).await.remove(0).made;
    let body = String::from_utf8(made.response_body.to_vec()).unwrap();
    assert!(body.contains("Bearer ***") && !body.contains("wr0ng"), "{body}");
    assert!(made.response_headers.contains("x-echo: ***"), "{}", made.response_headers);
}

#[tokio::test]
async fn all_errors_of_an_auth_are_reported_with_their_paths() {
    let (app, server) = stage(|_| json!({"kind": "none"})).await;
    let auth = json!({
        "kind": "authorization_code",
        "token": {"value": "x"},
        "authorize_url": "http://id.example.com/authorize",
        "token_url": "http://10.0.0.1/token",
        "scopes": ["two words"],
        "parameters": {"state": "x", "api_key": "x"},
    });
    let more = json!({
        "auth": auth,
        "secret_headers": {"Host": {"value": "x"}, "X-Api-Key": {"value": "é"}, "a b": {"value": ""}},
    });
    let document = pipeline(&[("crm", &server.receiver.url("/hook"), more)]);
    let request = json!({"document": document});
    let (status, answer) = app.client.post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let faults = answer["faults"].as_array().unwrap().iter();
    let mut paths: Vec<&str> = faults
        .map(|fault| fault["path"].as_str().unwrap())
        .map(|path| path.strip_prefix("sources[0].destinations[0].").unwrap())
        .collect();
    paths.sort_unstable();
    let expected = [
        "auth.authorize_url",
        "auth.client_id",
        "auth.parameters.api_key",
        "auth.parameters.state",
        "auth.scopes[0]",
        "auth.token",
        "auth.token_url",
        "secret_headers.Host",
        "secret_headers.X-Api-Key",
        "secret_headers.a b",
        "secret_headers.a b",
    ];
    assert_eq!(paths, expected, "{answer}");
    // The error of the address policy.
    let faults = answer["faults"].to_string();
    assert!(faults.contains("10.0.0.1"), "{faults}");
}

#[tokio::test]
async fn a_secret_is_required_and_is_not_sent_to_another_token_endpoint() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    let ask = async |auth: serde_json::Value| {
        let more = json!({"auth": auth});
        let document = pipeline(&[("crm", &server.receiver.url("/hook"), more)]);
        let request = json!({"document": document, "dry_run": true});
        app.client.post("/api/v1/pipeline", &request).await.unwrap()
    };
    let (status, answer) = ask(json!({"kind": "bearer"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let path = "sources[0].destinations[0].auth.token";
    assert_eq!(answer["faults"][0]["path"], json!(path));

    let mut auth = server.client_credentials();
    auth.as_object_mut().unwrap().remove("client_secret");
    let (status, answer) = ask(auth.clone()).await;
    assert_eq!(status, StatusCode::OK, "left out, it is kept: {answer}");
    auth["token_url"] = json!(server.receiver.url("/elsewhere"));
    let (status, answer) = ask(auth).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let path = "sources[0].destinations[0].auth.client_secret";
    assert_eq!(answer["faults"][0]["path"], json!(path));
    apply(&app, &server, server.client_credentials()).await;
}
