//! The pipeline as a whole: shown, and changed by applying a document.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::authentication::As;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Applied, ApplyRequest, PipelineView};
use crate::service::Refusal;

/// All that is set up, without its secrets.
#[utoipa::path(get, path = "/pipeline", tag = "pipeline",
    responses((status = 200, description = "What is set up", body = PipelineView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<PipelineView>, Problem> {
    Ok(Json(PipelineView::of(&api.service.pipeline(&caller).await?)))
}

/// Bring sources, destinations and mappings to what a document says: all of it or nothing.
#[utoipa::path(post, path = "/pipeline", tag = "pipeline", request_body = ApplyRequest,
    responses((status = 200, description = "The difference", body = Applied)))]
pub(super) async fn apply(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
    Ok(Json(api.service.editor.apply(&admin, &request).await.map_err(Refusal::from)?))
}
