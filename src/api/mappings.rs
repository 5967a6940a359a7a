//! Mappings: list, get, create, change, remove; list, compare and roll back revisions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::authentication::Authenticated;
use super::body::Body;
use super::page::Paged;
use super::resource::{self, ResourceRequest};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Applied, Change, MappingDocument, Target};
use crate::service::Condition;
use crate::service::page::Page;
use crate::service::resources::{MappingDetail, named};
use crate::service::revisions::{RevisionDiff, RevisionView, RollBackBody};

type Names = Path<(String, String, String)>;

/// The revisions to compare.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compared {
    from: u32,
    to: u32,
}

/// List mappings, by name.
#[utoipa::path(get, path = "/mappings", tag = "mappings",
    responses((status = 200, description = "The whole list", body = Page<MappingDetail>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<MappingDetail>, Problem> {
    Ok(Paged(api.service.mappings(&caller, &conditions).await?))
}

/// Create a mapping.
#[utoipa::path(post, path = "/mappings", tag = "mappings", request_body = MappingDetail,
    responses((status = 201, description = "Created", body = MappingDetail)))]
pub(super) async fn create(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [source, destination, name] = named(&body, ["source", "destination", "name"])?;
    let target = Target::Mapping(source, destination, name);
    resource::create(&api, &admin, &target, body).await
}

/// Get a mapping with its ETag.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings",
    responses(
        (status = 200, description = "The mapping", body = MappingDetail),
        (status = 304, description = "Not modified: the ETag is in If-None-Match")))]
pub(super) async fn show(at: ResourceRequest<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Replace a mapping: fields that are left out get their defaults, secrets that are left out are
/// removed.
#[utoipa::path(put, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings", request_body = MappingDocument,
    responses(
        (status = 200, description = "The mapping", body = MappingDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn replace(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a mapping by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The mapping", body = MappingDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn patch(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a mapping with everything below it.
#[utoipa::path(delete, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings",
    params(("dry_run" = Option<bool>, Query, description = "Only compute the difference")),
    responses(
        (status = 200, description = "Dry run: the difference", body = Applied),
        (status = 204, description = "Removed"),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: ResourceRequest<Admin>) -> Result<Response, Problem> {
    at.remove().await
}

/// List a mapping's revisions, newest first.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/revisions", tag = "mappings",
    responses((status = 200, description = "A page", body = Page<RevisionView>)))]
pub(super) async fn revisions(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Names,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<RevisionView>, Problem> {
    Ok(Paged(api.service.revisions(&caller, &names, &conditions).await?))
}

/// Get a revision of a mapping.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/revisions/{number}", tag = "mappings",
    responses((status = 200, description = "The revision", body = RevisionView)))]
pub(super) async fn revision(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path((source, destination, mapping, number)): Path<(String, String, String, u32)>,
) -> Result<Json<RevisionView>, Problem> {
    Ok(Json(api.service.revision(&caller, &(source, destination, mapping), number).await?))
}

/// Compare two revisions of a mapping.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/diff", tag = "mappings",
    params(("from" = u32, Query, minimum = 1, description = "The first revision"), ("to" = u32, Query, minimum = 1, description = "The second revision")),
    responses((status = 200, description = "Each value that differs", body = RevisionDiff)))]
pub(super) async fn compare(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Names,
    Query(Compared { from, to }): Query<Compared>,
) -> Result<Json<RevisionDiff>, Problem> {
    Ok(Json(api.service.compare_revisions(&caller, &names, from, to).await?))
}

/// Roll a mapping back: a new revision with the definition of an older one.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/roll-back", tag = "mappings", request_body = RollBackBody,
    responses(
        (status = 200, description = "The mapping", body = MappingDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn roll_back(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Path(names): Names,
    headers: HeaderMap,
    Body(RollBackBody { revision }): Body<RollBackBody>,
) -> Result<Response, Problem> {
    let guard = resource::guard(&headers)?;
    api.service.roll_back(&admin, &names, &guard, revision).await?;
    let (source, destination, name) = names;
    let target = Target::Mapping(source, destination, name);
    resource::answer(&api, &admin, &target, StatusCode::OK, None).await
}
