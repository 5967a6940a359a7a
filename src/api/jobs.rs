//! Jobs: redrives and discards, asked for by filter or by ids, with a dry run that changes nothing.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::body::Body;
use super::token::Actor;
use super::{Api, Problem};
use crate::desk::deliveries::Page;
use crate::desk::jobs::{Asked, JobRequest, JobView};
use crate::domain::job::JobAction;

pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Redrive, actor, request).await
}

pub(super) async fn discard(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Discard, actor, request).await
}

async fn ask(
    api: &Api,
    action: JobAction,
    Actor(actor): Actor,
    request: JobRequest,
) -> Result<Response, Problem> {
    Ok(match api.desk.ask_job(action, actor, request).await? {
        Asked::Preview(preview) => Json(preview).into_response(),
        Asked::Made(job) => (StatusCode::ACCEPTED, Json(job)).into_response(),
    })
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(None).await?))
}

pub(super) async fn list_redrives(
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(Some(JobAction::Redrive)).await?))
}

pub(super) async fn list_discards(
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(Some(JobAction::Discard)).await?))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.desk.job(&id).await?))
}

pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.desk.cancel_job(&id).await?))
}
