//! The status of the service, and the consistency check of its store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::authentication::Authenticated;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::service::status::{FindingView, StatusView};

/// Get the status of the service.
#[utoipa::path(get, path = "/status", tag = "service",
    responses((status = 200, description = "The status", body = StatusView)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<StatusView>, Problem> {
    Ok(Json(api.service.status(&caller).await?))
}

/// Run the consistency check. Slow: it reads the whole store.
#[utoipa::path(post, path = "/doctor", tag = "service",
    responses((status = 200, description = "The result of each check", body = Vec<FindingView>)))]
pub(super) async fn doctor(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<FindingView>>, Problem> {
    Ok(Json(api.service.doctor(&operator).await?))
}
