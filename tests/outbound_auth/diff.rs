//! The diff that `apply` shows of a changed auth: every changed field, no secrets.

use http::StatusCode;
use serde_json::{Value, json};

use super::{apply, connect, stage};
use crate::support::app::{TestApp, pipeline};
use crate::support::oauth::OauthServer;

async fn diff(app: &TestApp, server: &OauthServer, auth: Value) -> Value {
    let more = json!({"auth": auth, "timeout_ms": 5_000});
    let document = pipeline(&[("crm", &server.receiver.url("/hook"), more)]);
    let request = json!({"document": document, "dry_run": true});
    let (status, answer) = app.client.post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["lines"][0]["details"].clone()
}

#[tokio::test]
async fn an_auth_change_is_shown_by_field_without_secrets() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    let mut auth = server.client_credentials();
    assert_eq!(diff(&app, &server, auth.clone()).await, Value::Null, "the same");
    auth["scopes"] = json!(["less"]);
    auth["client_auth"] = json!("body");
    auth["client_secret"] = json!({"value": "an0ther"});
    let expected = json!([
        "auth.client_auth: basic → body",
        "auth.scopes: [\"events:write\",\"offline\"] → [\"less\"]",
        "auth.client_secret: changed",
    ]);
    assert_eq!(diff(&app, &server, auth).await, expected);
    let expected = json!(["auth: client_credentials → none", "auth.client_secret: removed"]);
    assert_eq!(diff(&app, &server, json!({"kind": "none"})).await, expected);
    let bearer = json!({"kind": "bearer", "token": {"value": "t0ken"}});
    let expected = json!([
        "auth: client_credentials → bearer",
        "auth.token: given",
        "auth.client_secret: removed",
    ]);
    assert_eq!(diff(&app, &server, bearer).await, expected);

    apply(&app, &server, server.authorization_code()).await;
    connect(&app, &server).await;
    let mut auth = server.authorization_code();
    auth["client_id"] = json!("another");
    let expected =
        json!(["auth.client_id: post:rider → another", "connection: ends with this change"]);
    assert_eq!(diff(&app, &server, auth).await, expected);
}
