//! Events: list, get, explain, and the live feed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::authentication::Authenticated;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::live::{Rendering, sse};
use crate::service::Condition;
use crate::service::event_view::EventView;
use crate::service::events::EventDetail;
use crate::service::explain::Explanation;
use crate::service::live::Watch;
use crate::service::page::Page;

/// List events, newest first.
///
/// A query scans a bounded number of rows: a page may hold fewer items than its limit, or none, and
/// still have a `next`; `looked_to` then says how far back it scanned.
#[utoipa::path(get, path = "/events", tag = "events",
    responses((status = 200, description = "A page", body = Page<EventView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<EventView>, Problem> {
    Ok(Paged(api.service.events(&caller, &conditions).await?))
}

/// Get an event with its deliveries.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    responses((status = 200, description = "The event", body = EventDetail)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(api.service.event(&caller, &id).await?))
}

/// Explain the routing of an event: for each mapping its delivery, or why there is none.
#[utoipa::path(get, path = "/events/{id}/explain", tag = "events",
    responses((status = 200, description = "The explanation", body = Explanation)))]
pub(super) async fn explain(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(api.service.explain(&caller, &id).await?))
}

/// Stream accepted events as server-sent events.
///
/// Each message has an id. A client that returns with it in `Last-Event-ID` gets the items since then, as far as they are
/// kept; an event `missed` says how many it did not get, or `"unknown"`.
#[utoipa::path(get, path = "/events/stream", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last message that it got")),
    responses((status = 200, description = "The event stream", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn stream(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let watch = Watch { caller: &caller, session: None, after: sse::last_event_id(&headers) };
    let events = api.service.watch_events(watch, &conditions).await?;
    Ok(sse::response(events, Rendering::Json, |event| sse::json(&EventView::live(event))))
}
