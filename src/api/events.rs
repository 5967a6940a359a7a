//! Events: lists by filter, one with its deliveries, why it went where it went, and all of them live.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;

use super::token::As;
use super::{Api, Problem, sse};
use crate::desk::Condition;
use crate::desk::deliveries::Page;
use crate::desk::events::{EventDetail, EventView};
use crate::desk::explain::Explanation;
use crate::domain::access::Caller;

/// Events that meet all conditions, newest first.
#[utoipa::path(get, path = "/events", tag = "events",
    responses((status = 200, description = "A page of them", body = Page<EventView>)))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<EventView>>, Problem> {
    Ok(Json(api.desk.events(&conditions).await?))
}

/// An event with its deliveries.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    responses((status = 200, description = "The event", body = EventDetail)))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(api.desk.event(&id).await?))
}

/// What became of an event at each mapping of its source, or why it did not go there.
#[utoipa::path(get, path = "/events/{id}/explain", tag = "events",
    responses((status = 200, description = "What became of it", body = Explanation)))]
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(api.desk.explain(&id).await?))
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
    Ok(sse::answer(api.desk.watch_events(&caller, &conditions).await?))
}
