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

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<EventView>>, Problem> {
    Ok(Json(api.desk.events(&conditions).await?))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    Ok(Json(api.desk.event(&id).await?))
}

pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(api.desk.explain(&id).await?))
}

pub(super) async fn stream(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Response, Problem> {
    Ok(sse::answer(api.desk.watch_events(&caller, &conditions).await?))
}
