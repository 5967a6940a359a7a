//! Authentication and authorization: tokens, roles, scopes, and the audit log.

mod audit;
mod audit_coverage;
mod openapi;
mod requests;
mod scopes;
mod tokens;

use http::{HeaderMap, Method};
use postrider::sender::{ApiClient, ApiResponse};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::TestApp;

/// A client with this token.
pub(crate) fn bearing(app: &TestApp, secret: &str) -> ApiClient {
    let secret = SecretString::from(secret.to_owned());
    ApiClient::new(&format!("http://{}", app.app.address), Some(secret)).unwrap()
}

/// A client with a new token of this role, limited to these destinations if there are any.
pub(crate) async fn with_role(app: &TestApp, role: &str, destinations: &[&str]) -> ApiClient {
    bearing(app, &token_of(app, role, destinations).await)
}

/// The secret of such a token.
pub(crate) async fn token_of(app: &TestApp, role: &str, destinations: &[&str]) -> String {
    let mut request = json!({"name": format!("a-{role}-{}", destinations.len()), "role": role});
    if !destinations.is_empty() {
        request["destinations"] = json!(destinations);
    }
    let (status, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["secret"].as_str().unwrap().to_owned()
}

/// A request without a body.
pub(crate) async fn bare(client: &ApiClient, method: Method, path: &str) -> ApiResponse {
    client.request(method, path, HeaderMap::new(), bytes::Bytes::new()).await.unwrap()
}

/// The answer's status and problem code.
pub(crate) fn problem((status, answer): (http::StatusCode, Value)) -> (u16, String) {
    (status.as_u16(), answer["code"].as_str().unwrap_or_default().to_owned())
}
