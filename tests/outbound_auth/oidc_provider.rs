//! Against `oidc-provider`, an independent authorization server; `provider/install` installs it. Consent
//! as in a browser, with redirects and cookies.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use postrider::domain::delivery::State;
use postrider::sender::ApiClient;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

use super::{begin, connection};
use crate::support::app::{Builder, TestApp, pipeline};

/// Timeout for output of the provider.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);
/// Lifetime of its access tokens, in seconds.
const LIFETIME: u64 = 600;

struct Provider {
    issuer: String,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Provider {
    async fn start(callback: &str) -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbound_auth/provider/server.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(callback)
            .arg(LIFETIME.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node, as tests/outbound_auth/provider/install sets it up");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut provider = Self { issuer: String::new(), lines, _child: child };
        let opening = provider.next("issuer").await;
        provider.issuer = opening.as_str().unwrap().to_owned();
        provider
    }

    /// The value of the next output line with this key.
    async fn next(&mut self, what: &str) -> Value {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let output: Value = serde_json::from_str(&line).unwrap_or_default();
                assert_eq!(output.get("refused"), None, "{output}");
                if let Some(found) = output.get(what) {
                    return found.clone();
                }
            }
            panic!("the provider ended; was tests/outbound_auth/provider/install run?")
        };
        tokio::time::timeout(OUTPUT_TIMEOUT, reading).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    fn auth(&self, kind: &str, more: Value) -> Value {
        let mut auth = json!({
            "kind": kind,
            "token_url": format!("{}/token", self.issuer),
            "client_id": "postrider",
            "client_secret": {"value": "s3cret-of-the-provider"},
            "scopes": ["events"],
        });
        for (name, value) in more.as_object().unwrap() {
            auth[name] = value.clone();
        }
        auth
    }

    async fn apply(&self, app: &TestApp, auth: Value) {
        let url = format!("{}/hook", self.issuer);
        app.apply(pipeline(&[("crm", &url, json!({"auth": auth}))])).await;
    }
}

/// A minimal browser: follows redirects and keeps cookies.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Follows redirects to a page that does not redirect.
    async fn follow(&mut self, from: &str) -> (Url, StatusCode, String) {
        let mut url = Url::parse(from).unwrap();
        for _ in 0..20 {
            let answer = self.get(&url).await;
            match answer.headers.get(header::LOCATION) {
                Some(next) => url = url.join(next.to_str().unwrap()).unwrap(),
                None => {
                    let text = String::from_utf8(answer.body.to_vec()).unwrap();
                    return (url, answer.status, text);
                }
            }
        }
        panic!("redirected for ever, at last to {url}")
    }

    async fn get(&mut self, url: &Url) -> postrider::sender::ApiResponse {
        let base = url.origin().ascii_serialization();
        let client = ApiClient::new(&base, None).unwrap();
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::try_from(cookies.join("; ")).unwrap());
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
        let path = url.as_str().strip_prefix(&base).unwrap();
        let answer = client.request(Method::GET, path, headers, Bytes::new()).await.unwrap();
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}

async fn stage() -> (TestApp, Provider) {
    let app = Builder::new().start().await;
    let provider = Provider::start(&format!("http://{}/oauth/callback", app.app.address)).await;
    (app, provider)
}

#[tokio::test]
async fn consent_rotation_and_renewal_work_with_oidc_provider() {
    let (app, mut provider) = stage().await;
    let more = json!({
        "authorize_url": format!("{}/auth", provider.issuer),
        "scopes": ["openid", "offline_access", "events"],
        "parameters": {"prompt": "consent"},
    });
    provider.apply(&app, provider.auth("authorization_code", more)).await;
    app.track("held").await;
    let begun = begin(&app).await;
    let (name, value) = begun.cookie.split_once('=').unwrap();
    let mut browser = Browser::default();
    browser.cookies.insert(name.to_owned(), value.to_owned());
    let (url, status, page) = browser.follow(&begun.url).await;
    assert_eq!(url.path(), "/oauth/callback", "{page}");
    assert_eq!(
        (status, page.contains("website/crm is connected")),
        (StatusCode::OK, true),
        "{page}"
    );
    assert_eq!(provider.next("grant").await, "authorization_code");
    app.until_settled(1).await;
    let mut tokens = vec![provider.next("value").await];

    // Two refreshes: the second one uses the rotated token.
    for number in 2..4 {
        app.clock.advance(Duration::from_secs(LIFETIME));
        app.track(&number.to_string()).await;
        app.until_settled(number).await;
        assert_eq!(provider.next("grant").await, "refresh_token");
        let token = provider.next("value").await;
        assert!(!tokens.contains(&token), "a new one");
        tokens.push(token);
    }
    let last = tokens.pop().unwrap();

    // A token revoked before it expires: one refresh, one more request.
    let revoke = format!("{}/revoke-now?token={}", provider.issuer, last.as_str().unwrap());
    crate::support::oauth::visit(&revoke).await;
    app.track("renewed").await;
    let rows = app.until_settled(4).await;
    assert_eq!(provider.next("grant").await, "refresh_token");
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.token == 1), "one attempt each");
    assert_eq!(connection(&app).await["connected"], json!(true));
}

#[tokio::test]
async fn client_credentials_work_with_oidc_provider() {
    let (app, mut provider) = stage().await;
    provider.apply(&app, provider.auth("client_credentials", json!({}))).await;
    app.track("one").await;
    app.until_settled(1).await;
    assert_eq!(provider.next("grant").await, "client_credentials");
    let token = provider.next("value").await;
    let revoke = format!("{}/revoke-now?token={}", provider.issuer, token.as_str().unwrap());
    crate::support::oauth::visit(&revoke).await;
    app.track("two").await;
    let rows = app.until_settled(2).await;
    assert_eq!(provider.next("grant").await, "client_credentials");
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.token == 1), "one attempt each");
}
