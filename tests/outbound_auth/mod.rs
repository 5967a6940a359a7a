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
use postrider::sender::ApiResponse;
use serde_json::{Value, json};
use url::Url;

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::oauth::{OauthServer, visit_with};
use crate::web::visitor::Visitor;

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

/// An authorization that a browser has begun.
pub(crate) struct Begun {
    /// The authorization server's page.
    pub(crate) url: String,
    /// The cookie of the browser.
    pub(crate) cookie: String,
}

impl Begun {
    /// The browser comes back to this URL.
    pub(crate) async fn come_back(&self, url: &Url) -> ApiResponse {
        visit_with(url.as_str(), Some(&self.cookie)).await
    }
}

/// Begins in a new browser that is signed in, on the page that the API leads to.
pub(crate) async fn begin(app: &TestApp) -> Begun {
    let (status, begun) = app.client.post(CONNECT, &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{begun}");
    let page = format!("{}/sources/website/destinations/crm#connection", app.base());
    assert_eq!(begun, json!({"authorize_url": page}));
    begin_in(&mut Visitor::signed_in(app).await, "crm").await
}

/// Begins in this browser.
pub(crate) async fn begin_in(visitor: &mut Visitor, destination: &str) -> Begun {
    let path = format!("/sources/website/destinations/{destination}");
    let page = visitor.get(&path).await;
    assert!(page.html.contains(&format!("action=\"{path}/connect\"")), "{}", page.html);
    let answer = visitor.post(&format!("{path}/connect"), &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.html);
    let cookies = answer.headers.get_all("set-cookie").iter();
    let mut cookies = cookies.map(|it| it.to_str().unwrap());
    let cookie = cookies.rfind(|it| it.starts_with("postrider_connect=")).unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let (_, url) = answer.html.split_once("class=\"button primary\" href=\"").unwrap();
    let url = url.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    Begun { url, cookie: cookie.split(';').next().unwrap().to_owned() }
}

/// Completes the authorization as a browser does.
async fn connect(app: &TestApp, server: &OauthServer) {
    let begun = begin(app).await;
    let page = begun.come_back(&server.grant(&begun.url).await).await;
    assert_eq!(page.status, StatusCode::OK, "{:?}", page.json());
}

async fn connection(app: &TestApp) -> Value {
    app.client.get(CONNECT).await.unwrap().1
}
