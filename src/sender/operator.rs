//! A plain client for talking to a running service, at any address: the CLI's and the bench's. No
//! address guard, and as everywhere no proxy and no redirect.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::tls;

/// One request's time.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Connections kept open while idle.
const IDLE_PER_HOST: usize = 1_024;
/// How long a connection is kept open while idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request to the service did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The base URL, or a path under it, is not a URL.
    #[error("`{url}` is not an http or https URL")]
    Url {
        /// What was given.
        url: String,
        /// Why, when the parser says.
        #[source]
        cause: Option<url::ParseError>,
    },
    /// The token holds characters that a header cannot carry.
    #[error("the token holds characters that a header cannot carry")]
    Token(#[source] http::header::InvalidHeaderValue),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What should be sent is not JSON.
    #[error("the request could not be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// No service answers at the address.
    #[error("no service answers at {base}: {words}")]
    Unreachable {
        /// The service's address.
        base: String,
        /// Why.
        words: String,
    },
    /// The connection broke, or the time ran out, before the answer was whole.
    #[error("the service at {base} did not answer: {words}")]
    Broken {
        /// The service's address.
        base: String,
        /// Why.
        words: String,
    },
}

/// An answer of the service.
#[derive(Clone, Debug)]
pub struct OperatorAnswer {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl OperatorAnswer {
    /// The body as JSON; a string of it when it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()))
    }
}

/// Talks to one service. Share one: it holds the connections.
pub struct OperatorClient {
    client: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for OperatorClient {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OperatorClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl OperatorClient {
    /// A client of the service at `base_url`; with a token, every request carries it as a bearer.
    ///
    /// # Errors
    /// A base that is no URL, a token that no header can carry, TLS that cannot be set up.
    pub fn new(base_url: &str, token: Option<SecretString>) -> Result<Self, OperatorError> {
        let base = base_url_of(base_url)?;
        let config = if base.scheme() == "https" {
            tls::client_config(Vec::new())
        } else {
            tls::distrusting_config()
        };
        let client =
            config.map_err(|cause| OperatorError::Client(cause.into())).and_then(|config| {
                let built = client(config).timeout(TIMEOUT).build();
                built.map_err(|cause| OperatorError::Client(cause.into()))
            })?;
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        Ok(Self { client, base, authorization })
    }

    /// GET, for JSON.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value), OperatorError> {
        let headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let answer = self.request(Method::GET, path, headers, Bytes::new()).await?;
        Ok((answer.status, answer.json()))
    }

    /// POST of JSON, for JSON.
    ///
    /// # Errors
    /// There was no answer, or `body` is not JSON.
    pub async fn post<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<(StatusCode, Value), OperatorError> {
        self.give(Method::POST, path, body, None).await
    }

    /// POST of JSON under an `Idempotency-Key`, for JSON.
    ///
    /// # Errors
    /// There was no answer, or `body` is not JSON.
    pub async fn post_once<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
        key: &str,
    ) -> Result<(StatusCode, Value), OperatorError> {
        self.give(Method::POST, path, body, Some(key)).await
    }

    /// PUT of JSON, for JSON.
    ///
    /// # Errors
    /// There was no answer, or `body` is not JSON.
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<(StatusCode, Value), OperatorError> {
        self.give(Method::PUT, path, body, None).await
    }

    async fn give<T: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: &T,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value), OperatorError> {
        let body = serde_json::to_vec(body).map_err(OperatorError::Encode)?;
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
        if let Some(key) = key {
            let key = HeaderValue::try_from(key).map_err(OperatorError::Token)?;
            headers.insert("idempotency-key", key);
        }
        let answer = self.request(method, path, headers, Bytes::from(body)).await?;
        Ok((answer.status, answer.json()))
    }

    /// POST of bytes as they are, under these headers.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn post_bytes(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<OperatorAnswer, OperatorError> {
        self.request(Method::POST, path, headers, body).await
    }

    /// Any request; `path` begins with `/` and may have a query. An `Authorization` in `headers`
    /// goes before the token.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<OperatorAnswer, OperatorError> {
        let url = self
            .base
            .join(path.trim_start_matches('/'))
            .map_err(|cause| OperatorError::Url { url: path.to_owned(), cause: Some(cause) })?;
        if let Some(authorization) = &self.authorization {
            headers.entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let mut sent = reqwest::Request::new(method, url);
        *sent.headers_mut() = headers;
        *sent.body_mut() = Some(reqwest::Body::from(body));
        let mut answer = self.client.execute(sent).await.map_err(|error| self.fault(&error))?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let body = answer.bytes().await.map_err(|error| self.fault(&error))?;
        Ok(OperatorAnswer { status, headers, body })
    }

    fn fault(&self, error: &reqwest::Error) -> OperatorError {
        let base = self.base.as_str().trim_end_matches('/').to_owned();
        let words = super::fault::operator_words(error);
        if error.is_connect() {
            OperatorError::Unreachable { base, words }
        } else {
            OperatorError::Broken { base, words }
        }
    }
}

/// The base with a `/` at its end, so that paths are joined below it.
fn base_url_of(text: &str) -> Result<Url, OperatorError> {
    let fault = |cause| OperatorError::Url { url: text.to_owned(), cause };
    let mut base = Url::parse(text).map_err(|cause| fault(Some(cause)))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(fault(None));
    }
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    Ok(base)
}

fn bearer(token: &SecretString) -> Result<HeaderValue, OperatorError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(OperatorError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What every such client has in common: nothing that a request did not ask for.
pub(super) fn client(config: rustls::ClientConfig) -> reqwest::ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "the one place that makes HTTP clients")]
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIMEOUT)
}
