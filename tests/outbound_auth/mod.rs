//! What authorizes requests, door to door: bearer tokens, OAuth 2.0 against a strict server of ours
//! and one that nobody here wrote, secret headers, and deliveries that wait to be connected.

mod bearer;
mod client_credentials;
mod connection;
mod difference;
mod headers;
mod other_server;
mod secrets;
mod token_endpoint;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::oauth::{OauthServer, visit};

/// A service with one destination under this auth, before a resource that its server guards.
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

/// Begins to connect; the page to open.
async fn begin(app: &TestApp) -> String {
    let (status, begun) = app.client.post(CONNECT, &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{begun}");
    begun["authorize_url"].as_str().unwrap().to_owned()
}

/// Connects as somebody with a browser does.
async fn connect(app: &TestApp, server: &OauthServer) {
    let back = server.grant(&begin(app).await).await;
    let page = visit(back.as_str()).await;
    assert_eq!(page.status, StatusCode::OK, "{:?}", page.json());
}

async fn connection(app: &TestApp) -> Value {
    app.client.get(CONNECT).await.unwrap().1
}
