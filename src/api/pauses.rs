//! Pausing and resuming of destinations and mappings.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::Operator;
use crate::pipeline::Target;
use crate::service::pauses::{PauseRequest, PausedView, ResumeRequest};

/// Pause a destination: its deliveries are held, events are accepted and routed to it.
///
/// Applying a pipeline does not end a pause. Pausing what is paused changes nothing.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/pause", tag = "destinations", request_body = PauseRequest,
    responses((status = 200, description = "The pause, and its backlog", body = PausedView)))]
pub(super) async fn pause_destination(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path((source, destination)): Path<(String, String)>,
    Body(request): Body<PauseRequest>,
) -> Result<Json<PausedView>, Problem> {
    let target = Target::Destination(source, destination);
    Ok(Json(api.service.pause(&operator, &target, request).await?))
}

/// Resume a destination: what was held gets a fresh delivery window.
///
/// With a rate, at most so many of its deliveries start in a second until what was held has been sent. Also
/// ends the wait that a receiver asked for with `Retry-After`.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/resume", tag = "destinations", request_body = ResumeRequest,
    responses((status = 200, description = "The drain, if there is one, and its backlog", body = PausedView)))]
pub(super) async fn resume_destination(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path((source, destination)): Path<(String, String)>,
    Body(request): Body<ResumeRequest>,
) -> Result<Json<PausedView>, Problem> {
    let target = Target::Destination(source, destination);
    Ok(Json(api.service.resume(&operator, &target, request).await?))
}

/// Pause a mapping: its deliveries are held, events are accepted and routed to it.
///
/// Applying a pipeline does not end a pause. Pausing what is paused changes nothing.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/pause", tag = "mappings", request_body = PauseRequest,
    responses((status = 200, description = "The pause, and its backlog", body = PausedView)))]
pub(super) async fn pause_mapping(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path((source, destination, mapping)): Path<(String, String, String)>,
    Body(request): Body<PauseRequest>,
) -> Result<Json<PausedView>, Problem> {
    let target = Target::Mapping(source, destination, mapping);
    Ok(Json(api.service.pause(&operator, &target, request).await?))
}

/// Resume a mapping: what was held gets a fresh delivery window.
///
/// With a rate, at most so many of its deliveries start in a second until what was held has been sent. Also
/// ends the wait that its receiver asked for with `Retry-After`.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/resume", tag = "mappings", request_body = ResumeRequest,
    responses((status = 200, description = "The drain, if there is one, and its backlog", body = PausedView)))]
pub(super) async fn resume_mapping(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path((source, destination, mapping)): Path<(String, String, String)>,
    Body(request): Body<ResumeRequest>,
) -> Result<Json<PausedView>, Problem> {
    let target = Target::Mapping(source, destination, mapping);
    Ok(Json(api.service.resume(&operator, &target, request).await?))
}
