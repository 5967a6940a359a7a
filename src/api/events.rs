//! Events: lists by filter, one with its deliveries, why it went where it went, and all of them live.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;

use super::authentication::As;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::live::sse;
use crate::service::Condition;
use crate::service::deliveries::Page;
use crate::service::events::{EventDetail, EventView};
use crate::service::explain::Explanation;

/// Events that meet all conditions, newest first.
///
/// One look goes over a bounded number of rows: a page may hold fewer than asked for, or none, and
/// still have a `next`; `looked_to` then says how far back it looked.
#[utoipa::path(get, path = "/events", tag = "events",
    responses((status = 200, description = "A page of them", body = Page<EventView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<EventView>, Problem> {
    Ok(Paged(api.service.events(&caller, &conditions).await?))
}

/// An event with its deliveries.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    responses((status = 200, description = "The event", body = EventDetail)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(api.service.event(&caller, &id).await?))
}

/// What became of an event at each mapping of its source, or why it did not go there.
#[utoipa::path(get, path = "/events/{id}/explain", tag = "events",
    responses((status = 200, description = "What became of it", body = Explanation)))]
pub(super) async fn explain(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(api.service.explain(&caller, &id).await?))
}

/// Events as they are accepted: server-sent events.
#[utoipa::path(get, path = "/events/stream", tag = "events",
    responses((status = 200, description = "A stream that goes on", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn stream(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Response, Problem> {
    Ok(sse::response(api.service.watch_events(&caller, &conditions).await?, sse::json))
}
