//! The pipeline as a whole: get, and apply a document.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Applied, ApplyRequest, PipelineView};
use crate::service::ServiceError;

/// Get the pipeline, without secrets.
#[utoipa::path(get, path = "/pipeline", tag = "pipeline",
    responses((status = 200, description = "The pipeline", body = PipelineView)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<PipelineView>, Problem> {
    Ok(Json(PipelineView::of(&api.service.pipeline(&caller).await?)))
}

/// Apply a document of sources, destinations and mappings atomically.
#[utoipa::path(post, path = "/pipeline", tag = "pipeline", request_body = ApplyRequest,
    responses((status = 200, description = "The difference", body = Applied)))]
pub(super) async fn apply(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
    Ok(Json(api.service.editor.apply(&admin, &request).await.map_err(ServiceError::from)?))
}
