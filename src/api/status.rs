//! The service as it stands, and what an examination of its store finds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::authentication::As;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::service::status::{FindingView, StatusView};

/// The service as it stands.
#[utoipa::path(get, path = "/status", tag = "service",
    responses((status = 200, description = "How it stands", body = StatusView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<StatusView>, Problem> {
    Ok(Json(api.service.status(&caller).await?))
}

/// Examine the whole store. Slow: it reads everything.
#[utoipa::path(post, path = "/doctor", tag = "service",
    responses((status = 200, description = "What was found", body = Vec<FindingView>)))]
pub(super) async fn doctor(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<FindingView>>, Problem> {
    Ok(Json(api.service.doctor(&operator).await?))
}
