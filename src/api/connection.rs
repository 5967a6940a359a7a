//! Connecting destinations: begun and ended under the admin API, and the way back from the
//! authorization server, which is open to anybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::IntoParams;

use super::authentication::As;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::outbound_auth::{Callback, ConnectError};
use crate::pipeline::ConnectionView;
use crate::service::connection::{BegunView, Names};

/// Where browsers come back to.
pub const CALLBACK: &str = "/oauth/callback";

/// How a destination's connection stands.
#[utoipa::path(get, path = "/destinations/{source}/{destination}/connect", tag = "destinations",
    responses(
        (status = 200, description = "The connection", body = ConnectionView),
        (status = 409, description = "Its auth needs none", body = Problem)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<ConnectionView>, Problem> {
    Ok(Json(api.service.connection(&caller, &names).await?))
}

/// Begin to connect a destination: the page to open in a browser.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/connect", tag = "destinations",
    responses(
        (status = 200, description = "Where to grant it", body = BegunView),
        (status = 409, description = "Its auth needs none", body = Problem)))]
pub(super) async fn begin(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<BegunView>, Problem> {
    Ok(Json(api.service.connect(&operator, &names).await?))
}

/// End a destination's connection: its deliveries are held from now on.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/disconnect",
    tag = "destinations",
    responses(
        (status = 200, description = "The connection as it stands now", body = ConnectionView),
        (status = 409, description = "Its auth needs none", body = Problem)))]
pub(super) async fn disconnect(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<ConnectionView>, Problem> {
    Ok(Json(api.service.disconnect(&operator, &names).await?))
}

/// What an authorization server adds to the way back (RFC 6749, 4.1.2).
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Brought {
    /// What was given out here.
    state: Option<String>,
    /// What tokens are got for.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// The same in words.
    error_description: Option<String>,
}

impl Brought {
    fn returned(self) -> Callback {
        let error = self.error.filter(|error| !error.is_empty()).map(|error| {
            match self.error_description.filter(|words| !words.is_empty()) {
                Some(words) => format!("{error} ({words})"),
                None => error,
            }
        });
        Callback {
            state: self.state.unwrap_or_default(),
            code: self.code.filter(|code| !code.is_empty()).map(SecretString::from),
            error,
        }
    }
}

/// The way back from an authorization server, for browsers.
#[utoipa::path(get, path = "/oauth/callback", tag = "machines", params(Brought),
    responses(
        (status = 200, description = "Connected", body = String, content_type = "text/plain"),
        (status = 400, description = "Not connected", body = String, content_type = "text/plain"),
        (status = 502, description = "Not connected: the authorization server fails", body = String,
            content_type = "text/plain")))]
pub(super) async fn callback(
    State(api): State<Arc<Api>>,
    Query(brought): Query<Brought>,
) -> Response {
    match api.service.finish_connection(brought.returned()).await {
        Ok(path) => {
            page(StatusCode::OK, &format!("{path} is connected. You can close this window."))
        }
        Err(error) => {
            tracing::warn!(%error, "a destination was not connected");
            let status = match &error {
                ConnectError::Auth(_) => StatusCode::BAD_GATEWAY,
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
