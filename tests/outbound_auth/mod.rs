//! Outbound auth end to end: bearer tokens, OAuth 2.0 against our own strict server and against
//! `oidc-provider`, secret headers, and deliveries held until the destination is connected.

mod bearer;
mod client_credentials;
mod connection;
mod diff;
mod headers;
mod oidc_provider;
mod origins;
mod secrets;
mod token_endpoint;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::oauth::{OauthServer, visit};

/// A service with one destination with this auth; its URL is a resource that the server protects.
async fn stage(auth: impl FnOnce(&OauthServer) -> Value) -> (TestApp, OauthServer) {
    let app = Builder::new().start().await;
    let server = OauthServer::start(Some(app.clock.clone())).await;
    server.register(format!("http://{}/oauth/callback", app.app.address));
    apply(&app, &server, auth(&server)).await;
    (app, server)
}

async fn apply(app: &TestApp, server: &OauthServer, auth: Value) {
    let more = json!({"auth": auth, "timeout_ms": 5_000});
    app.apply(pipeline(&[("crm", &server.receiver.url("/hook"), more)])).await;
}

const CONNECT: &str = "/api/v1/destinations/website/crm/connect";

/// Starts the authorization; returns the page to open.
async fn begin(app: &TestApp) -> String {
    let (status, begun) = app.client.post(CONNECT, &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{begun}");
    begun["authorize_url"].as_str().unwrap().to_owned()
}

/// Completes the authorization as a browser does.
async fn connect(app: &TestApp, server: &OauthServer) {
    let back = server.grant(&begin(app).await).await;
    let page = visit(back.as_str()).await;
    assert_eq!(page.status, StatusCode::OK, "{:?}", page.json());
}

async fn connection(app: &TestApp) -> Value {
    app.client.get(CONNECT).await.unwrap().1
}
