//! The admin API's client: finds the service's address and the operator's token, and converts answers to
//! results and errors with hints.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::api::Problem;
use crate::sender::{ApiClient, ApiClientError, ApiResponse, ApiStream};
use crate::settings::secrets::{generate, read_token};
use crate::settings::{SettingFlags, Settings};

/// Query parameters of a list.
pub(super) type Conditions = Vec<(&'static str, String)>;

/// Lost answers in a row after which a request is given up.
const MAX_LOST: u32 = 3;
/// The wait before a request that is in progress is asked about again.
const IN_PROGRESS: Duration = Duration::from_millis(250);

/// A client of the running service with the operator's token.
#[derive(Debug)]
pub struct Client {
    operator: ApiClient,
    base: String,
}

/// Whether a service is ready.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Why it is not.
    pub(super) not_ready: Option<String>,
}

/// Asks the service whether it is ready, without a token.
///
/// # Errors
/// When settings are wrong, or there is no answer.
pub(super) async fn readiness(globals: &Globals) -> anyhow::Result<Readiness> {
    let settings = globals.settings(&SettingFlags::default())?.settings;
    let client = ApiClient::new(&base_url(globals, &settings), None).map_err(unreachable)?;
    let asked = client.request(Method::GET, "/readyz", HeaderMap::new(), Bytes::new());
    let answer = asked.await.map_err(unreachable)?;
    if answer.status == StatusCode::OK {
        return Ok(Readiness { not_ready: None });
    }
    let words = String::from_utf8_lossy(&answer.body);
    let why = words.trim().trim_start_matches("not ready: ").to_owned();
    Ok(Readiness { not_ready: Some(why) })
}

impl Client {
    /// The service that the flags, the environment or the settings name.
    ///
    /// # Errors
    /// When settings are wrong, or there is no token.
    pub fn of(globals: &Globals) -> anyhow::Result<Self> {
        let settings = globals.settings(&SettingFlags::default())?.settings;
        let base = base_url(globals, &settings);
        let token = token(globals, &settings)?;
        let operator = ApiClient::new(&base, Some(token)).map_err(unreachable)?;
        Ok(Self { operator, base })
    }

    /// The service's address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET of a path under `/api/v1`.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        conditions: &[(&'static str, String)],
    ) -> anyhow::Result<T> {
        let path = with_conditions(path, conditions);
        let headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let asked = self.operator.request(Method::GET, &path, headers, Bytes::new());
        self.read(&asked.await.map_err(unreachable)?)
    }

    /// The stream of accepted events, after the one with the id `after`.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub(super) async fn events(
        &self,
        source: Option<&str>,
        after: Option<&str>,
    ) -> anyhow::Result<ApiStream> {
        let source: Conditions = source.map(|it| ("source", it.to_owned())).into_iter().collect();
        let after = after.and_then(|id| HeaderValue::from_str(id).ok());
        let headers = after.map(|id| (HeaderName::from_static("last-event-id"), id));
        self.open("/events/stream", &source, headers.into_iter().collect()).await
    }

    /// GET of a path under `/api/v1` whose response is read as it comes.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub(super) async fn stream(
        &self,
        path: &str,
        conditions: &[(&'static str, String)],
    ) -> anyhow::Result<ApiStream> {
        self.open(path, conditions, HeaderMap::new()).await
    }

    async fn open(
        &self,
        path: &str,
        conditions: &[(&'static str, String)],
        headers: HeaderMap,
    ) -> anyhow::Result<ApiStream> {
        let path = with_conditions(path, conditions);
        let mut stream = self.operator.stream(&path, headers).await.map_err(unreachable)?;
        let status = stream.status();
        if status.is_success() {
            return Ok(stream);
        }
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = stream.next().await {
            body.extend_from_slice(&bytes);
        }
        let answer = ApiResponse { status, headers: HeaderMap::new(), body: body.into() };
        self.read(&answer).and_then(|never: Value| Err(anyhow::anyhow!("{status}: {never}")))
    }

    /// POST to a path under `/api/v1`, idempotent by its key: it is sent again when the answer is lost,
    /// and waits for as long as the service works on it.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let path = format!("/api/v1{path}");
        let key = generate("cli_").context("there is no randomness for an Idempotency-Key")?;
        let key = Some(key.expose_secret());
        let ask = async || self.operator.send_json(Method::POST, &path, body, key).await;
        let mut lost = 0;
        loop {
            match ask().await {
                Ok(answer) if is_in_progress(&answer) => {
                    lost = 0;
                    tokio::time::sleep(IN_PROGRESS).await;
                }
                Err(ApiClientError::Broken { .. }) if lost < MAX_LOST => lost += 1,
                answer => return self.read(&answer.map_err(unreachable)?),
            }
        }
    }

    /// DELETE of a path under `/api/v1`.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1{path}");
        let answer = self
            .operator
            .request(Method::DELETE, &path, HeaderMap::new(), Bytes::new())
            .await
            .map_err(unreachable)?;
        if answer.status.is_success() {
            return Ok(());
        }
        self.read(&answer)
    }

    /// PUT to a path under `/api/v1`.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer or a problem.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let path = format!("/api/v1{path}");
        let sent = self.operator.send_json(Method::PUT, &path, body, None);
        self.read(&sent.await.map_err(unreachable)?)
    }

    /// Not by way of `serde_json::Value`, which does not take every event that intake takes.
    fn read<T: DeserializeOwned>(&self, answer: &ApiResponse) -> anyhow::Result<T> {
        let ApiResponse { status, body, .. } = answer;
        if status.is_success() {
            return serde_json::from_slice(body).map_err(|error| {
                Failure::new(exit::FAILED, format!("{} gave an unexpected answer", self.base))
                    .because(error)
                    .hint("is it a Postrider of this version? see --url")
                    .into()
            });
        }
        Err(match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => anyhow::Error::new(refused(&problem)).context(Refused(problem)),
            Err(_not_a_problem) => {
                Failure::new(exit::FAILED, format!("{} answers {status}", self.base))
                    .hint("is it a Postrider? see --url")
                    .into()
            }
        })
    }
}

/// Whether the service still works on the first request with this key.
/// A path of the API with conditions as its query.
fn with_conditions(path: &str, conditions: &[(&'static str, String)]) -> String {
    let path = format!("/api/v1{path}");
    if conditions.is_empty() {
        return path;
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(conditions);
    format!("{path}?{}", query.finish())
}

fn is_in_progress(answer: &ApiResponse) -> bool {
    answer.status == StatusCode::CONFLICT && answer.json()["code"] == "idempotency_under_way"
}

/// The service's problem details, for verbs that print its faults themselves.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.faults.len() < 2 {
            return out.write_str(&self.0.detail);
        }
        let lines = self.0.faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message));
        out.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

fn refused(problem: &Problem) -> Failure {
    let failure = |code| Failure::new(code, problem.detail.clone());
    match problem.status {
        401 => failure(exit::UNREACHABLE).hint(
            "the token is another service's, or was replaced: see --token-file, --url and \
             POSTRIDER_TOKEN",
        ),
        403 => failure(exit::FAILED).hint("postrider tokens lists the role of each token"),
        404 => failure(exit::NOT_FOUND),
        400 | 413 | 415 | 422 => failure(exit::USAGE),
        503 | 507 => failure(exit::FAILED).hint("postrider status shows the service's state"),
        _ => failure(exit::FAILED),
    }
}

fn unreachable(error: ApiClientError) -> anyhow::Error {
    let hint = match &error {
        ApiClientError::Unreachable { .. } => {
            "start it with: postrider serve; or name another address with --url"
        }
        ApiClientError::Broken { .. } => "the service's log may say more",
        ApiClientError::Url { .. } => "give an address such as --url http://127.0.0.1:8080",
        ApiClientError::Token(_) => "the token file holds one line of ASCII characters",
        ApiClientError::Client(_) | ApiClientError::Encode(_) => {
            "this is a defect: please report it"
        }
    };
    let code = match &error {
        ApiClientError::Unreachable { .. } | ApiClientError::Broken { .. } => exit::UNREACHABLE,
        ApiClientError::Url { .. } | ApiClientError::Token(_) => exit::USAGE,
        ApiClientError::Client(_) | ApiClientError::Encode(_) => exit::FAILED,
    };
    Failure::new(code, error.to_string()).hint(hint).because(error).into()
}

/// The service's address.
pub(super) fn base_url(globals: &Globals, settings: &Settings) -> String {
    if let Some(url) = globals.url.first() {
        return url.trim_end_matches('/').to_owned();
    }
    // A service on all addresses listens on loopback too.
    let here = match settings.listen.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(at)) if at.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())).to_string()
        }
        Ok(SocketAddr::V6(at)) if at.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, at.port())).to_string()
        }
        Ok(_) | Err(_) => settings.listen.clone(),
    };
    format!("http://{here}")
}

fn token(globals: &Globals, settings: &Settings) -> anyhow::Result<SecretString> {
    if globals.token_file.is_empty()
        && let Ok(token) = std::env::var("POSTRIDER_TOKEN")
        && !token.is_empty()
    {
        return Ok(SecretString::from(token));
    }
    let path = &settings.token_file;
    read_token(path)?.ok_or_else(|| {
        Failure::new(exit::UNREACHABLE, format!("there is no token file {}", path.display()))
            .hint(
                "postrider serve makes it at first start, beside its database; for another \
                 service, give --url and POSTRIDER_TOKEN",
            )
            .into()
    })
}
