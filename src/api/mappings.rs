//! Mappings: listed, shown, made, changed, removed; their revisions listed, compared and said again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::authentication::As;
use super::body::Body;
use super::page::Paged;
use super::resource::{self, At};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Change, MappingDocument, Target};
use crate::service::Condition;
use crate::service::deliveries::Page;
use crate::service::resources::{MappingDetail, named};
use crate::service::revisions::{RevisionDiff, RevisionView, RollBackBody};

type Names = Path<(String, String, String)>;

/// Two revisions to compare.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compared {
    from: u32,
    to: u32,
}

/// Every mapping, by name.
#[utoipa::path(get, path = "/mappings", tag = "mappings",
    responses((status = 200, description = "All of them", body = Page<MappingDetail>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<MappingDetail>, Problem> {
    Ok(Paged(api.service.mappings(&caller, &conditions).await?))
}

/// Make a mapping.
#[utoipa::path(post, path = "/mappings", tag = "mappings", request_body = MappingDetail,
    responses((status = 201, description = "Made", body = MappingDetail)))]
pub(super) async fn create(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [source, destination, name] = named(&body, ["source", "destination", "name"])?;
    let target = Target::Mapping(source, destination, name);
    resource::create(&api, &admin, &target, body).await
}

/// A mapping, with the ETag that a change of it can be guarded by.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings",
    responses(
        (status = 200, description = "The mapping", body = MappingDetail),
        (status = 304, description = "It is what If-None-Match names")))]
pub(super) async fn show(at: At<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Make a mapping what is written here: what is left out has its default, and left out secrets go.
#[utoipa::path(put, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings", request_body = MappingDocument,
    responses(
        (status = 200, description = "The mapping now", body = MappingDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn replace(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a mapping by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The mapping now", body = MappingDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn patch(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a mapping, with all that is below it.
#[utoipa::path(delete, path = "/mappings/{source}/{destination}/{mapping}", tag = "mappings",
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: At<Admin>) -> Result<Response, Problem> {
    at.change(Change::Remove).await
}

/// A mapping's revisions, newest first.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/revisions", tag = "mappings",
    responses((status = 200, description = "A page of them", body = Page<RevisionView>)))]
pub(super) async fn revisions(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Names,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<RevisionView>, Problem> {
    Ok(Paged(api.service.revisions(&caller, &names, &conditions).await?))
}

/// One revision of a mapping.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/revisions/{number}", tag = "mappings",
    responses((status = 200, description = "The revision", body = RevisionView)))]
pub(super) async fn revision(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path((source, destination, mapping, number)): Path<(String, String, String, u32)>,
) -> Result<Json<RevisionView>, Problem> {
    Ok(Json(api.service.revision(&caller, &(source, destination, mapping), number).await?))
}

/// What differs between two revisions of a mapping.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/diff", tag = "mappings",
    params(("from" = u32, Query, minimum = 1, description = "The revision before"), ("to" = u32, Query, minimum = 1, description = "The revision after")),
    responses((status = 200, description = "Each place where they differ", body = RevisionDiff)))]
pub(super) async fn compare(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Names,
    Query(Compared { from, to }): Query<Compared>,
) -> Result<Json<RevisionDiff>, Problem> {
    Ok(Json(api.service.compare_revisions(&caller, &names, from, to).await?))
}

/// Make a new revision that says what an older one said.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/roll-back", tag = "mappings", request_body = RollBackBody,
    responses(
        (status = 200, description = "The mapping now", body = MappingDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn roll_back(
    As(admin): As<Admin>,
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
