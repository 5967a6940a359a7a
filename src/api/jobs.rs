//! Jobs: redrives and discards by filter or by ids, and backfills, with a dry run that changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::authentication::Authenticated;
use super::body::Body;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::domain::job::JobAction;
use crate::service::Condition;
use crate::service::backfills::{AskedBackfill, BackfillPreview, BackfillRequest};
use crate::service::jobs::{Asked, JobRequest, JobView, PreviewView};
use crate::service::page::Page;

/// Redrive dead letters: due again, with a fresh delivery window.
///
/// A dry run counts what the job would select; otherwise the job is created and runs in the
/// background.
#[utoipa::path(post, path = "/redrives", tag = "jobs", request_body = JobRequest,
    responses(
        (status = 200, description = "The result of a dry run", body = PreviewView),
        (status = 202, description = "Created", body = JobView)))]
pub(super) async fn redrive(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Redrive, &operator, request).await
}

/// Discard pending deliveries and dead letters.
///
/// A dry run counts what the job would select; otherwise the job is created and runs in the
/// background.
#[utoipa::path(post, path = "/discards", tag = "jobs", request_body = JobRequest,
    responses(
        (status = 200, description = "The result of a dry run", body = PreviewView),
        (status = 202, description = "Created", body = JobView)))]
pub(super) async fn discard(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Discard, &operator, request).await
}

/// Backfill a mapping: make deliveries from kept events of a time range.
///
/// Events get a delivery that the mapping's current trigger matches and whose `integrations` do not exclude
/// the destination. Events that have a delivery for the mapping already are left out, unless `again` is set.
/// A dry run counts; otherwise the job is created and runs in the background.
#[utoipa::path(post, path = "/backfills", tag = "jobs", request_body = BackfillRequest,
    responses(
        (status = 200, description = "The result of a dry run", body = BackfillPreview),
        (status = 202, description = "Created", body = JobView),
        (status = 409, description = "The mapping is disabled, or this version cannot compile it", body = Problem)))]
pub(super) async fn backfill(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Body(request): Body<BackfillRequest>,
) -> Result<Response, Problem> {
    Ok(match api.service.backfill(&operator, request).await? {
        AskedBackfill::Preview(preview) => Json(preview).into_response(),
        AskedBackfill::Made(job) => (StatusCode::ACCEPTED, Json(job)).into_response(),
    })
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

/// List redrives, discards and backfills, newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs",
    responses((status = 200, description = "A page", body = Page<JobView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, None, &conditions).await?))
}

/// List redrives, newest first.
#[utoipa::path(get, path = "/redrives", tag = "jobs",
    responses((status = 200, description = "A page", body = Page<JobView>)))]
pub(super) async fn list_redrives(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, Some(JobAction::Redrive), &conditions).await?))
}

/// List discards, newest first.
#[utoipa::path(get, path = "/discards", tag = "jobs",
    responses((status = 200, description = "A page", body = Page<JobView>)))]
pub(super) async fn list_discards(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, Some(JobAction::Discard), &conditions).await?))
}

/// List backfills, newest first.
#[utoipa::path(get, path = "/backfills", tag = "jobs",
    responses((status = 200, description = "A page", body = Page<JobView>)))]
pub(super) async fn list_backfills(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<JobView>, Problem> {
    Ok(Paged(api.service.jobs(&caller, Some(JobAction::Backfill), &conditions).await?))
}

/// Get a job.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs",
    responses((status = 200, description = "The job", body = JobView)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.service.job(&caller, &id).await?))
}

/// Cancel a job; what it has processed stays.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs",
    responses((status = 200, description = "The job", body = JobView)))]
pub(super) async fn cancel(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.service.cancel_job(&operator, &id).await?))
}
