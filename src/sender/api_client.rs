//! The HTTP client for addresses that the operator chose: a running service's API (CLI, bench) and the
//! OTLP collector. No SSRF protection; no proxies and no redirects either.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::tls;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest duration of a stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Maximum idle connections per host.
const IDLE_PER_HOST: usize = 1_024;
/// Idle timeout of a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request got no response.
#[derive(Debug, thiserror::Error)]
pub enum ApiClientError {
    /// The base URL, or a path below it, is malformed.
    #[error("`{url}` is not an http or https URL")]
    Url {
        /// The malformed text.
        url: String,
        /// The parser's error.
        #[source]
        cause: Option<url::ParseError>,
    },
    /// The token is not a valid header value.
    #[error("the token contains characters that a header value cannot contain")]
    Token(#[source] http::header::InvalidHeaderValue),
    /// The HTTP client could not be initialized.
    #[error("the HTTP client could not be initialized")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The body cannot be serialized.
    #[error("the request could not be serialized as JSON")]
    Encode(#[source] serde_json::Error),
    /// The connection failed.
    #[error("no service answers at {base}: {message}")]
    Unreachable {
        /// The service's address.
        base: String,
        /// The cause.
        message: String,
    },
    /// The connection broke or the request timed out before the response was complete.
    #[error("the service at {base} did not response: {message}")]
    Broken {
        /// The service's address.
        base: String,
        /// The cause.
        message: String,
    },
}

/// A response.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl ApiResponse {
    /// The body as JSON; as a JSON string if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()))
    }
}

/// A client of one server. Share one: it owns the connection pool.
pub struct ApiClient {
    client: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ApiClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// A client of the server at `base_url`; a token is sent as bearer token with every request.
    ///
    /// # Errors
    /// A malformed URL or token, or TLS that cannot be initialized.
    pub fn new(base_url: &str, token: Option<SecretString>) -> Result<Self, ApiClientError> {
        let base = base_url_of(base_url)?;
        let config = if base.scheme() == "https" {
            tls::client_config(Vec::new())
        } else {
            tls::no_roots_config()
        };
        let client =
            config.map_err(|cause| ApiClientError::Client(cause.into())).and_then(|config| {
                let built = builder(config).timeout(TIMEOUT).build();
                built.map_err(|cause| ApiClientError::Client(cause.into()))
            })?;
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        Ok(Self { client, base, authorization })
    }

    /// GET with a JSON response.
    ///
    /// # Errors
    /// No response was received.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value), ApiClientError> {
        let headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let response = self.request(Method::GET, path, headers, Bytes::new()).await?;
        Ok((response.status, response.json()))
    }

    /// POST of JSON with a JSON response.
    ///
    /// # Errors
    /// No response was received, or `body` cannot be serialized.
    pub async fn post<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<(StatusCode, Value), ApiClientError> {
        let response = self.send_json(Method::POST, path, body, None).await?;
        Ok((response.status, response.json()))
    }

    /// PUT of JSON with a JSON response.
    ///
    /// # Errors
    /// No response was received, or `body` cannot be serialized.
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<(StatusCode, Value), ApiClientError> {
        let response = self.send_json(Method::PUT, path, body, None).await?;
        Ok((response.status, response.json()))
    }

    /// A request with a JSON body, and an `Idempotency-Key` if one is given.
    ///
    /// # Errors
    /// No response was received, or `body` cannot be serialized.
    pub async fn send_json<T: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: &T,
        key: Option<&str>,
    ) -> Result<ApiResponse, ApiClientError> {
        let body = serde_json::to_vec(body).map_err(ApiClientError::Encode)?;
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
        if let Some(key) = key {
            let key = HeaderValue::try_from(key).map_err(ApiClientError::Token)?;
            headers.insert("idempotency-key", key);
        }
        self.request(method, path, headers, Bytes::from(body)).await
    }

    /// POST of raw bytes with these headers.
    ///
    /// # Errors
    /// No response was received.
    pub async fn post_bytes(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ApiResponse, ApiClientError> {
        self.request(Method::POST, path, headers, body).await
    }

    /// GET of a response that goes on, read piece by piece.
    ///
    /// # Errors
    /// No response was received.
    pub async fn stream(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<ApiStream, ApiClientError> {
        let mut request = self.prepare(Method::GET, path, headers)?;
        *request.timeout_mut() = Some(STREAM_TIMEOUT);
        let response =
            self.client.execute(request).await.map_err(|error| self.request_error(&error))?;
        let base = self.base.as_str().trim_end_matches('/').to_owned();
        Ok(ApiStream { response, base })
    }

    /// Any request; `path` begins with `/` and may have a query. An `Authorization` in `headers`
    /// overrides the token.
    ///
    /// # Errors
    /// No response was received.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ApiResponse, ApiClientError> {
        let mut sent = self.prepare(method, path, headers)?;
        *sent.body_mut() = Some(reqwest::Body::from(body));
        let mut response =
            self.client.execute(sent).await.map_err(|error| self.request_error(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = response.bytes().await.map_err(|error| self.request_error(&error))?;
        Ok(ApiResponse { status, headers, body })
    }

    /// A request without a body, with the token.
    fn prepare(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
    ) -> Result<reqwest::Request, ApiClientError> {
        let url = self
            .base
            .join(path.trim_start_matches('/'))
            .map_err(|cause| ApiClientError::Url { url: path.to_owned(), cause: Some(cause) })?;
        if let Some(authorization) = &self.authorization {
            headers.entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn request_error(&self, error: &reqwest::Error) -> ApiClientError {
        let base = self.base.as_str().trim_end_matches('/').to_owned();
        let message = super::failure::describe_client_error(error);
        if error.is_connect() {
            ApiClientError::Unreachable { base, message }
        } else {
            ApiClientError::Broken { base, message }
        }
    }
}

/// A response that goes on.
#[derive(Debug)]
pub struct ApiStream {
    response: reqwest::Response,
    base: String,
}

impl ApiStream {
    /// Its HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next piece; none at the end. Fails when nothing has come for long: a stream has keep-alives.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiClientError> {
        let piece = tokio::time::timeout(TIMEOUT, self.response.chunk()).await;
        let broken = |message| ApiClientError::Broken { base: self.base.clone(), message };
        match piece {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(broken(super::failure::describe_client_error(&error))),
            Err(_elapsed) => Err(broken("timed out".to_owned())),
        }
    }
}

/// The base URL with a trailing `/`, so that paths are joined below it.
fn base_url_of(text: &str) -> Result<Url, ApiClientError> {
    let url_error = |cause| ApiClientError::Url { url: text.to_owned(), cause };
    let mut base = Url::parse(text).map_err(|cause| url_error(Some(cause)))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(url_error(None));
    }
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    Ok(base)
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ApiClientError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(ApiClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// No redirects, proxies, retries or `Referer`.
fn builder(config: rustls::ClientConfig) -> reqwest::ClientBuilder {
    #[expect(
        clippy::disallowed_methods,
        reason = "the API client's own pool: operator-chosen addresses need no SSRF protection"
    )]
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
