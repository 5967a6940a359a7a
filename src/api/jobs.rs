//! Jobs: redrives and discards, asked for by filter or by ids, with a dry run that changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::body::Body;
use super::token::As;
use super::{Api, Problem};
use crate::desk::deliveries::Page;
use crate::desk::jobs::{Asked, JobRequest, JobView};
use crate::domain::access::{Caller, Operator};
use crate::domain::job::JobAction;

pub(super) async fn redrive(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Redrive, &operator, request).await
}

pub(super) async fn discard(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Discard, &operator, request).await
}

async fn ask(
    api: &Api,
    action: JobAction,
    operator: &Operator,
    request: JobRequest,
) -> Result<Response, Problem> {
    Ok(match api.desk.ask_job(action, operator, request).await? {
        Asked::Preview(preview) => Json(preview).into_response(),
        Asked::Made(job) => (StatusCode::ACCEPTED, Json(job)).into_response(),
    })
}

pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(&caller, None).await?))
}

pub(super) async fn list_redrives(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(&caller, Some(JobAction::Redrive)).await?))
}

pub(super) async fn list_discards(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    Ok(Json(api.desk.jobs(&caller, Some(JobAction::Discard)).await?))
}

pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.desk.job(&caller, &id).await?))
}

pub(super) async fn cancel(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.desk.cancel_job(&operator, &id).await?))
}
