//! Statistics over time, and the health of destinations.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};

use super::authentication::Authenticated;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::statistics::{HealthView, StatisticsView};

/// Get statistics over time, in steps.
#[utoipa::path(get, path = "/statistics", tag = "statistics",
    responses((status = 200, description = "The statistics", body = StatisticsView)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<StatisticsView>, Problem> {
    Ok(Json(api.service.statistics(&caller, &conditions).await?))
}

/// Get the health of each destination.
#[utoipa::path(get, path = "/health", tag = "statistics",
    responses((status = 200, description = "The health of each destination", body = [HealthView])))]
pub(super) async fn health(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<HealthView>>, Problem> {
    Ok(Json(api.service.health(&caller).await?))
}
