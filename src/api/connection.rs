//! OAuth connections of destinations: connect and disconnect in the admin API, and the public
//! callback.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::IntoParams;

use super::authentication::Authenticated;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::outbound_auth::{Callback, ConnectError};
use crate::pipeline::ConnectionView;
use crate::service::connection::{BegunView, Names};

/// The path of the OAuth callback.
pub const CALLBACK: &str = "/oauth/callback";

/// Get the state of a destination's connection.
#[utoipa::path(get, path = "/destinations/{source}/{destination}/connect", tag = "destinations",
    responses(
        (status = 200, description = "The connection", body = ConnectionView),
        (status = 409, description = "Its auth needs no connection", body = Problem)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<ConnectionView>, Problem> {
    Ok(Json(api.service.connection(&caller, &names).await?))
}

/// Get the page on which a destination is connected: an operator opens it in a browser.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/connect", tag = "destinations",
    responses(
        (status = 200, description = "The page to open", body = BegunView),
        (status = 409, description = "Its auth needs no connection", body = Problem)))]
pub(super) async fn begin(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<BegunView>, Problem> {
    Ok(Json(api.service.connect_page(&operator, &names).await?))
}

/// Disconnect a destination; its deliveries are held.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/disconnect",
    tag = "destinations",
    responses(
        (status = 200, description = "The connection", body = ConnectionView),
        (status = 409, description = "Its auth needs no connection", body = Problem)))]
pub(super) async fn disconnect(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<ConnectionView>, Problem> {
    Ok(Json(api.service.disconnect(&operator, &names).await?))
}

/// The parameters of the callback (RFC 6749, 4.1.2).
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// The `state` that was issued here.
    state: Option<String>,
    /// The authorization code.
    code: Option<String>,
    /// The error code.
    error: Option<String>,
    /// The error in words.
    error_description: Option<String>,
}

impl CallbackQuery {
    fn returned(self, headers: &HeaderMap) -> Callback {
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
            browser: began_in(headers),
        }
    }
}

/// The cookie of a browser that began a connection, with and without TLS.
pub const BROWSER_COOKIES: [&str; 2] = ["__Host-postrider_connect", "postrider_connect"];

/// The value that the browser keeps since it began.
fn began_in(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|it| it.to_str().ok());
    let mut pairs =
        texts.flat_map(|text| text.split(';')).filter_map(|it| it.trim().split_once('='));
    let found = pairs.find(|(name, _)| BROWSER_COOKIES.contains(name));
    found.map(|(_, value)| value.to_owned())
}

/// The OAuth callback, for browsers.
#[utoipa::path(get, path = "/oauth/callback", tag = "machines", params(CallbackQuery),
    responses(
        (status = 200, description = "Connected", body = String, content_type = "text/plain"),
        (status = 400, description = "Not connected", body = String, content_type = "text/plain"),
        (status = 502, description = "Not connected: the authorization server fails", body = String,
            content_type = "text/plain")))]
pub(super) async fn callback(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Response {
    match api.service.finish_connection(query.returned(&headers)).await {
        Ok(path) => {
            page(StatusCode::OK, &format!("{path} is connected. You can close this window."))
        }
        Err(error) => {
            tracing::warn!(%error, "a destination was not connected");
            let status = match &error {
                ConnectError::Auth(_) => StatusCode::BAD_GATEWAY,
                ConnectError::UnknownState
                | ConnectError::ExpiredState
                | ConnectError::OtherBrowser
                | ConnectError::Refused(_)
                | ConnectError::NoCode => StatusCode::BAD_REQUEST,
            };
            page(status, &format!("Not connected: {error}"))
        }
    }
}

/// Plain text: text of the authorization server is never interpreted as HTML.
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
