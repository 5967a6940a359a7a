//! Events: lists by filter, one with its deliveries, and why it went where it went.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};

use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::deliveries::Page;
use crate::desk::events::{EventDetail, EventView};
use crate::desk::explain::Explanation;

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
