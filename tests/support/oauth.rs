//! A strict authorization server with a protected resource: validates every parameter of every request,
//! rotates refresh tokens, expires tokens by the test's clock, and revokes a grant when a code or refresh
//! token is reused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode};
use postrider::domain::clock::{Clock, ManualClock, Timestamp};
use postrider::sender::{ApiClient, ApiResponse};
use postrider::settings::secrets::digest;
use serde_json::{Value, json};
use url::Url;

use super::receiver::{Behaviour, Received, Receiver, by_request};

/// The registered client; id and secret contain characters that Basic credentials must escape.
pub(crate) const CLIENT_ID: &str = "post:rider";
pub(crate) const CLIENT_SECRET: &str = "s3cret/with+odd=chars%";
/// An additional parameter of authorization requests.
pub(crate) const AUDIENCE: &str = "https://api.test/events";
/// Lifetime of access tokens.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3_600);

type Fields = BTreeMap<String, String>;

#[derive(Default)]
struct State {
    now: Option<Arc<ManualClock>>,
    redirect_uri: String,
    /// Codes with their PKCE challenge; used ones stay, to detect reuse.
    codes: BTreeMap<String, (String, bool)>,
    access: BTreeMap<String, Timestamp>,
    refresh: Option<String>,
    spent: BTreeSet<String>,
    issued: u32,
    refreshes: u32,
    violations: Vec<String>,
    /// An injected failure of the token endpoint.
    failure: Option<Behaviour>,
    /// The resource refuses every token.
    locked: bool,
    /// Responses contain no refresh token.
    no_refresh: bool,
    /// The client sends its secret in the body.
    in_body: bool,
}

/// The server, running.
pub(crate) struct OauthServer {
    pub(crate) receiver: Receiver,
    state: Arc<Mutex<State>>,
}

impl OauthServer {
    pub(crate) async fn start(clock: Option<Arc<ManualClock>>) -> Self {
        let state = Arc::new(Mutex::new(State { now: clock, ..State::default() }));
        let shared = Arc::clone(&state);
        let script = by_request(move |request| shared.lock().unwrap().answer(request));
        Self { receiver: Receiver::start(script).await, state }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Settings of the client credentials grant.
    pub(crate) fn client_credentials(&self) -> Value {
        json!({
            "kind": "client_credentials",
            "token_url": self.receiver.url("/token"),
            "client_id": CLIENT_ID,
            "client_secret": {"value": CLIENT_SECRET},
            "scopes": ["events:write", "offline"],
            "parameters": {"audience": AUDIENCE},
        })
    }

    /// Settings of the authorization code grant.
    pub(crate) fn authorization_code(&self) -> Value {
        let mut auth = self.client_credentials();
        auth["kind"] = json!("authorization_code");
        auth["authorize_url"] = json!(self.receiver.url("/authorize?tenant=one"));
        auth["refresh_url"] = json!(self.receiver.url("/refresh"));
        auth
    }

    /// Registers the redirect URI.
    pub(crate) fn register(&self, redirect_uri: String) {
        self.change(|state| state.redirect_uri = redirect_uri);
    }

    pub(crate) fn set_failure(&self, behaviour: Option<Behaviour>) {
        self.change(|state| state.failure = behaviour);
    }

    pub(crate) fn lock_resource(&self, locked: bool) {
        self.change(|state| state.locked = locked);
    }

    pub(crate) fn give_no_refresh_tokens(&self) {
        self.change(|state| state.no_refresh = true);
    }

    pub(crate) fn expect_secret_in_body(&self) {
        self.change(|state| state.in_body = true);
    }

    /// Revokes all access tokens.
    pub(crate) fn revoke_access(&self) {
        self.change(State::end_access);
    }

    /// Revokes the grant.
    pub(crate) fn revoke_grant(&self) {
        self.change(State::revoke);
    }

    /// Number of issued tokens.
    pub(crate) fn issued(&self) -> u32 {
        self.change(|state| state.issued)
    }

    /// Number of refreshes.
    pub(crate) fn refreshes(&self) -> u32 {
        self.change(|state| state.refreshes)
    }

    /// All tokens ever issued.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.change(|state| {
            let refresh = state.spent.iter().chain(&state.refresh);
            state.access.keys().chain(refresh).chain(state.codes.keys()).cloned().collect()
        })
    }

    /// Asserts that all requests were correct.
    pub(crate) fn assert_correct(&self) {
        assert_eq!(self.change(|state| state.violations.clone()), Vec::<String>::new());
    }

    /// Requests that reached the resource.
    pub(crate) fn resource_requests(&self) -> Vec<Received> {
        self.receiver.requests().into_iter().filter(|it| it.path.starts_with("/hook")).collect()
    }

    pub(crate) fn token_requests(&self) -> usize {
        let tokens = |it: &&Received| it.path == "/token" || it.path == "/refresh";
        self.receiver.requests().iter().filter(tokens).count()
    }

    /// Grants the authorization as a browser does; returns the redirect URL.
    pub(crate) async fn grant(&self, authorize_url: &str) -> Url {
        let answer = visit(authorize_url).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{:?}", answer.json());
        self.assert_correct();
        Url::parse(answer.headers["location"].to_str().unwrap()).unwrap()
    }
}

/// A GET of any URL.
pub(crate) async fn visit(url: &str) -> ApiResponse {
    visit_with(url, None).await
}

/// A GET of any URL with a cookie.
pub(crate) async fn visit_with(url: &str, cookie: Option<&str>) -> ApiResponse {
    let url = Url::parse(url).unwrap();
    let base = url.origin().ascii_serialization();
    let path = url.as_str().strip_prefix(&base).unwrap();
    let client = ApiClient::new(&base, None).unwrap();
    let headers = cookie.map(|it| (http::header::COOKIE, it.parse().unwrap()));
    let headers = HeaderMap::from_iter(headers);
    client.request(Method::GET, path, headers, bytes::Bytes::new()).await.unwrap()
}

impl State {
    fn now(&self) -> Timestamp {
        self.now.as_ref().map_or_else(Timestamp::default, |clock| clock.now())
    }

    fn end_access(&mut self) {
        self.spent.extend(std::mem::take(&mut self.access).into_keys());
    }

    fn revoke(&mut self) {
        self.end_access();
        self.spent.extend(self.refresh.take());
    }

    fn answer(&mut self, request: &Received) -> Behaviour {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match path {
            "/authorize" => self.authorize(&fields(query)),
            "/token" | "/refresh" => match self.failure.clone() {
                Some(failure) => failure,
                None => self.token(path, request),
            },
            _ => self.resource(request),
        }
    }

    fn resource(&self, request: &Received) -> Behaviour {
        let now = self.now();
        let token = request.header("authorization").and_then(|it| it.strip_prefix("Bearer "));
        let good = token.and_then(|it| self.access.get(it)).is_some_and(|ends_at| now < *ends_at);
        if good && !self.locked {
            return Behaviour::ok();
        }
        // Echoes the request, to check that secrets are masked.
        let echo = format!("{:?}", request.headers);
        Behaviour::status(401).header("x-echo", token.unwrap_or("none")).body(echo)
    }

    fn refuse(&mut self, error: &str, why: impl Into<String>) -> Behaviour {
        self.violations.push(why.into());
        refusal(400, error, "this is not a request of our client")
    }

    fn authorize(&mut self, query: &Fields) -> Behaviour {
        let expected = [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("scope", "events:write offline"),
            ("code_challenge_method", "S256"),
            ("audience", AUDIENCE),
            ("tenant", "one"),
            ("redirect_uri", &self.redirect_uri.clone()),
        ];
        for (name, value) in expected {
            if query.get(name).is_none_or(|given| given != value) {
                return self.refuse("invalid_request", format!("{name}: {query:?}"));
            }
        }
        let (state, challenge) = (query.get("state"), query.get("code_challenge"));
        let (Some(state), Some(challenge)) = (state, challenge) else {
            return self.refuse("invalid_request", "no state or challenge");
        };
        if state.len() < 32 || challenge.len() != 43 || query.len() != expected.len() + 2 {
            return self.refuse("invalid_request", format!("state, challenge or more: {query:?}"));
        }
        let code = format!("code-{}-of-the-grant", self.codes.len());
        self.codes.insert(code.clone(), (challenge.clone(), false));
        let mut back = Url::parse(&self.redirect_uri).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", state);
        Behaviour::status(302).header("Location", back.as_str())
    }

    fn token(&mut self, path: &str, request: &Received) -> Behaviour {
        if request.method != "POST"
            || request.header("content-type") != Some("application/x-www-form-urlencoded")
            || request.header("accept") != Some("application/json")
        {
            return self.refuse("invalid_request", format!("{request:?}"));
        }
        let mut form = fields(request.text());
        if !self.is_client(request, &mut form) {
            return self.refuse("invalid_client", format!("credentials: {request:?}"));
        }
        let grant = form.remove("grant_type").unwrap_or_default();
        match (path, grant.as_str()) {
            ("/token", "client_credentials") => {
                let expected = [("audience", AUDIENCE), ("scope", "events:write offline")];
                let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
                if form != Fields::from(expected) {
                    return self.refuse("invalid_scope", format!("{form:?}"));
                }
                self.give(false)
            }
            ("/token", "authorization_code") => self.code(form),
            ("/refresh", "refresh_token") => self.refreshed(form),
            _ => self.refuse("unsupported_grant_type", format!("{path} {grant}")),
        }
    }

    /// Client credentials in the header or the body, never in both.
    fn is_client(&self, request: &Received, form: &mut Fields) -> bool {
        let (id, secret) = (form.remove("client_id"), form.remove("client_secret"));
        if self.in_body {
            let right =
                id.as_deref() == Some(CLIENT_ID) && secret.as_deref() == Some(CLIENT_SECRET);
            return right && request.header("authorization").is_none();
        }
        let basic = request.header("authorization").and_then(|it| it.strip_prefix("Basic "));
        let pair = basic.and_then(|it| STANDARD.decode(it).ok()).map(String::from_utf8);
        let Some(Ok(pair)) = pair else { return false };
        // RFC 6749, 2.3.1: each is form-encoded, so the first colon is the one between them.
        let decoded = |text: &str| fields(&format!("x={text}")).remove("x").unwrap_or_default();
        let shown = pair.split_once(':').map(|(id, secret)| (decoded(id), decoded(secret)));
        let right = shown == Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned()));
        right && id.is_none() && secret.is_none()
    }

    fn code(&mut self, mut form: Fields) -> Behaviour {
        let mut take = |name: &str| form.remove(name).unwrap_or_default();
        let (code, verifier, back) = (take("code"), take("code_verifier"), take("redirect_uri"));
        if !form.is_empty() || back != self.redirect_uri {
            return self.refuse("invalid_request", format!("{back} {form:?}"));
        }
        let Some((challenge, used)) = self.codes.get_mut(&code) else {
            return refusal(400, "invalid_grant", "no such code");
        };
        if std::mem::replace(used, true) {
            self.revoke();
            return self.refuse("invalid_grant", format!("{code} is used twice"));
        }
        if *challenge != URL_SAFE_NO_PAD.encode(digest(&verifier)) {
            return self.refuse("invalid_grant", "the verifier is not the challenge's");
        }
        self.give(true)
    }

    fn refreshed(&mut self, mut form: Fields) -> Behaviour {
        let token = form.remove("refresh_token").unwrap_or_default();
        if !form.is_empty() {
            return self.refuse("invalid_request", format!("{form:?}"));
        }
        if self.refresh.as_ref() != Some(&token) {
            if self.spent.contains(&token) && self.refresh.is_some() {
                self.revoke();
                return self.refuse("invalid_grant", format!("{token} is used twice"));
            }
            return refusal(400, "invalid_grant", &format!("{token} is no more"));
        }
        self.spent.insert(token);
        self.refreshes += 1;
        self.give(true)
    }

    fn give(&mut self, refresh: bool) -> Behaviour {
        self.issued += 1;
        let access = format!("access-{}-{}", self.issued, "a".repeat(40));
        self.access.insert(access.clone(), self.now() + LIFETIME);
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": LIFETIME.as_secs(),
        });
        if refresh && !self.no_refresh {
            let token = format!("refresh-{}-{}", self.issued, "r".repeat(40));
            answer["refresh_token"] = json!(token);
            self.refresh = Some(token);
        }
        Behaviour::ok()
            .header("Content-Type", "application/json;charset=UTF-8")
            .body(answer.to_string())
    }
}

fn refusal(status: u16, error: &str, description: &str) -> Behaviour {
    let body = json!({"error": error, "error_description": description});
    Behaviour::status(status).header("Content-Type", "application/json").body(body.to_string())
}

/// The fields of a form or query; a duplicate gets the value `twice`.
fn fields(text: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if fields.insert(name.to_string(), value.into_owned()).is_some() {
            fields.insert(name.into_owned(), "twice".to_owned());
        }
    }
    fields
}
