//! Jobs: redrives and discards, asked for by filter or by ids, with a dry run that changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::authentication::As;
use super::body::Body;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::domain::job::JobAction;
use crate::service::Condition;
use crate::service::deliveries::Page;
use crate::service::jobs::{Asked, JobRequest, JobView, PreviewView};

/// Make dead letters due again, with a fresh window.
///
/// A dry run tells what the job would do; otherwise it is made and goes on by itself.
#[utoipa::path(post, path = "/redrives", tag = "jobs", request_body = JobRequest,
    responses(
        (status = 200, description = "What it would do: a dry run", body = PreviewView),
        (status = 202, description = "Made", body = JobView)))]
pub(super) async fn redrive(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Redrive, &operator, request).await
}

/// Give up pending deliveries and dead letters.
///
/// A dry run tells what the job would do; otherwise it is made and goes on by itself.
#[utoipa::path(post, path = "/discards", tag = "jobs", request_body = JobRequest,
    responses(
        (status = 200, description = "What it would do: a dry run", body = PreviewView),
        (status = 202, description = "Made", body = JobView)))]
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
    Ok(match api.service.ask_job(action, operator, request).await? {
        Asked::Preview(preview) => Json(preview).into_response(),
        Asked::Made(job) => (StatusCode::ACCEPTED, Json(job)).into_response(),
    })
}

/// Redrives and discards that meet all conditions, newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs",
    responses((status = 200, description = "A page of them", body = Page<JobView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, None, &conditions).await?))
}

/// Redrives that meet all conditions, newest first.
#[utoipa::path(get, path = "/redrives", tag = "jobs",
    responses((status = 200, description = "A page of them", body = Page<JobView>)))]
pub(super) async fn list_redrives(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, Some(JobAction::Redrive), &conditions).await?))
}

/// Discards that meet all conditions, newest first.
#[utoipa::path(get, path = "/discards", tag = "jobs",
    responses((status = 200, description = "A page of them", body = Page<JobView>)))]
pub(super) async fn list_discards(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, Some(JobAction::Discard), &conditions).await?))
}

/// A job as it stands.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs",
    responses((status = 200, description = "The job", body = JobView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.service.job(&caller, &id).await?))
}

/// Stop a job where it is; what it did stays done.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs",
    responses((status = 200, description = "The job as it stands now", body = JobView)))]
pub(super) async fn cancel(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.service.cancel_job(&operator, &id).await?))
}
