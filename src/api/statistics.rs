//! Statistics over time, and how each destination fares.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};

use super::authentication::As;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::statistics::{HealthView, StatisticsView};

/// What happened over time, in steps.
#[utoipa::path(get, path = "/statistics", tag = "statistics",
    responses((status = 200, description = "The steps", body = StatisticsView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<StatisticsView>, Problem> {
    Ok(Json(api.service.statistics(&caller, &conditions).await?))
}

/// How each destination fares.
#[utoipa::path(get, path = "/health", tag = "statistics",
    responses((status = 200, description = "Each destination", body = [HealthView])))]
pub(super) async fn health(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<HealthView>>, Problem> {
    Ok(Json(api.service.health(&caller).await?))
}
