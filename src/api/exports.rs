//! Exports of lists as CSV or JSON lines, streamed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::authentication::Authenticated;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::export::{Export, Exported};

/// Export every event that matches, newest first.
///
/// The response is streamed, and ends with an error when it is not whole.
#[utoipa::path(get, path = "/events/export", tag = "events",
    responses((status = 200, description = "The rows",
        content((String = "text/csv"), (String = "application/x-ndjson")))))]
pub(super) async fn events(
    authenticated: Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Response, Problem> {
    export(authenticated, &api, Exported::Events, &conditions).await
}

/// Export every delivery that matches, newest first.
///
/// The response is streamed, and ends with an error when it is not whole.
#[utoipa::path(get, path = "/deliveries/export", tag = "deliveries",
    responses((status = 200, description = "The rows",
        content((String = "text/csv"), (String = "application/x-ndjson")))))]
pub(super) async fn deliveries(
    authenticated: Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Response, Problem> {
    export(authenticated, &api, Exported::Deliveries, &conditions).await
}

/// Export every attempt that matches, newest first.
///
/// The response is streamed, and ends with an error when it is not whole.
#[utoipa::path(get, path = "/attempts/export", tag = "attempts",
    responses((status = 200, description = "The rows",
        content((String = "text/csv"), (String = "application/x-ndjson")))))]
pub(super) async fn attempts(
    authenticated: Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Response, Problem> {
    export(authenticated, &api, Exported::Attempts, &conditions).await
}

async fn export(
    Authenticated(caller): Authenticated<Caller>,
    api: &Api,
    list: Exported,
    conditions: &[Condition],
) -> Result<Response, Problem> {
    let export = Arc::clone(&api.service).export((&caller, None), list, conditions).await?;
    Ok(response(export))
}

fn response(export: Export) -> Response {
    let media_type = [(header::CONTENT_TYPE, export.format().media_type())];
    (media_type, Body::from_stream(export.into_stream())).into_response()
}
