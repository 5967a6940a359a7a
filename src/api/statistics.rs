//! Statistics over time, and how each destination fares.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};

use super::token::As;
use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::statistics::{HealthView, StatisticsView};
use crate::domain::access::Caller;

/// What happened over time, in steps.
#[utoipa::path(get, path = "/statistics", tag = "statistics",
    params(
        ("since" = Option<String>, Query, description = "From here on; a day ago when left out", format = DateTime),
        ("until" = Option<String>, Query, description = "Up to here; now when left out", format = DateTime),
        ("step_minutes" = Option<u32>, Query, minimum = 1, maximum = 44640, description = "How long a step is; whole hours are kept for longer than minutes"),
        ("source" = Option<String>, Query, description = "Of this source"),
        ("destination" = Option<String>, Query, description = "Of this destination"),
        ("mapping" = Option<String>, Query, description = "Of this mapping")
    ),
    responses((status = 200, description = "The steps", body = StatisticsView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<StatisticsView>, Problem> {
    Ok(Json(api.desk.statistics(&caller, &conditions).await?))
}

/// How each destination fares.
#[utoipa::path(get, path = "/health", tag = "statistics",
    responses((status = 200, description = "Each destination", body = [HealthView])))]
pub(super) async fn health(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<HealthView>>, Problem> {
    Ok(Json(api.desk.health(&caller).await?))
}
