//! Connecting destinations whose auth somebody has to grant in a browser: where to send it, what it
//! brings back, how it stands. The way back is open to anybody and does nothing without a state
//! that was given out here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Api, Problem};
use crate::auth::{BeginError, ConnectError, Return};
use crate::domain::destination::Destination;
use crate::pipeline::ConnectionView;
use crate::store::{Pipeline, StoreError};

/// Where browsers come back to.
pub const CALLBACK: &str = "/oauth/callback";

/// A connection that was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BegunView {
    /// The page to open in a browser.
    pub authorize_url: String,
    /// Until when it can be used.
    pub expires_at: String,
}

type Names = Path<(String, String)>;

fn destination<'p>(
    pipeline: &'p Pipeline,
    Path((source, name)): &Names,
) -> Result<&'p Destination, Problem> {
    let source_id = pipeline.sources.iter().find(|one| one.name == *source).map(|one| one.id);
    let mut found = pipeline.destinations.iter();
    found
        .find(|one| Some(one.source_id) == source_id && one.name == *name)
        .ok_or_else(|| Problem::not_found(&format!("destination {source}/{name}")))
}

fn nothing_to_connect() -> Problem {
    Problem::conflict("its auth is not authorization_code: there is nothing to connect")
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    names: Names,
) -> Result<Json<ConnectionView>, Problem> {
    let pipeline = api.store.pipeline().await?;
    let destination = destination(&pipeline, &names)?;
    ConnectionView::of(&pipeline, destination).map(Json).ok_or_else(nothing_to_connect)
}

pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    names: Names,
) -> Result<Json<BegunView>, Problem> {
    let pipeline = api.store.pipeline().await?;
    let id = destination(&pipeline, &names)?.id;
    match api.auth.begin(id, &api.callback_url) {
        Ok(begun) => Ok(Json(BegunView {
            authorize_url: begun.authorize_url.to_string(),
            expires_at: begun.expires_at.to_iso(),
        })),
        Err(BeginError::NothingToConnect) => Err(nothing_to_connect()),
        Err(BeginError::Url(error)) => Err(Problem::conflict(error.to_string())),
        Err(BeginError::Secret(error)) => Err(error.into()),
    }
}

pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    names: Names,
) -> Result<Json<ConnectionView>, Problem> {
    let pipeline = api.store.pipeline().await?;
    let found = destination(&pipeline, &names)?;
    if !found.settings.auth.needs_connection() {
        return Err(nothing_to_connect());
    }
    let id = found.id;
    match api.auth.disconnect(id, "disconnected by an operator").await {
        // Its tokens were just replaced: once more, on what it is now.
        Err(StoreError::Conflict) => {
            api.process.reload().await;
            api.auth.disconnect(id, "disconnected by an operator").await?;
        }
        other => other?,
    }
    api.process.reload().await;
    let pipeline = api.store.pipeline().await?;
    let destination = destination(&pipeline, &names)?;
    ConnectionView::of(&pipeline, destination).map(Json).ok_or_else(nothing_to_connect)
}

/// What an authorization server adds to the way back (RFC 6749, 4.1.2).
#[derive(Deserialize)]
pub(super) struct Brought {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Brought {
    fn returned(self) -> Return {
        let error = self.error.filter(|error| !error.is_empty()).map(|error| {
            match self.error_description.filter(|words| !words.is_empty()) {
                Some(words) => format!("{error} ({words})"),
                None => error,
            }
        });
        Return {
            state: self.state.unwrap_or_default(),
            code: self.code.filter(|code| !code.is_empty()).map(SecretString::from),
            error,
        }
    }
}

pub(super) async fn callback(
    State(api): State<Arc<Api>>,
    Query(brought): Query<Brought>,
) -> Response {
    match api.auth.finish(brought.returned()).await {
        Ok(path) => {
            tracing::info!(destination = path, "connected: its deliveries go out");
            api.process.reload().await;
            api.process.wake();
            page(StatusCode::OK, &format!("{path} is connected. You can close this window."))
        }
        Err(error) => {
            tracing::warn!(%error, "a destination was not connected");
            let status = match &error {
                ConnectError::Fault(_) => StatusCode::BAD_GATEWAY,
                ConnectError::UnknownState
                | ConnectError::ExpiredState
                | ConnectError::Refused(_)
                | ConnectError::NoCode => StatusCode::BAD_REQUEST,
            };
            page(status, &format!("Not connected: {error}"))
        }
    }
}

/// Plain text, which no browser takes for anything else: whatever a server says stays words.
fn page(status: StatusCode, text: &str) -> Response {
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let headers = [
        fixed(header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}
