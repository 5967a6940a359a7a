//! Sources: list, get, create, change, remove, rotate the write key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::Value;

use super::authentication::Authenticated;
use super::body::Body;
use super::resource::{self, ResourceRequest};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::domain::destination::XSignatureKey;
use crate::pipeline::{Applied, Change, SourceDocument, Target};
use crate::service::Condition;
use crate::service::page::Page;
use crate::service::resources::{SourceDetail, named};

/// List sources, by name.
#[utoipa::path(get, path = "/sources", tag = "sources",
    responses((status = 200, description = "The whole list", body = Page<SourceDetail>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<SourceDetail>>, Problem> {
    Ok(Json(api.service.sources(&caller, &conditions).await?))
}

/// Create a source.
#[utoipa::path(post, path = "/sources", tag = "sources", request_body = SourceDocument,
    responses((status = 201, description = "Created", body = SourceDetail)))]
pub(super) async fn create(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [name] = named(&body, ["name"])?;
    let target = Target::Source(name);
    resource::create(&api, &admin, &target, body).await
}

/// Get a source with its ETag.
#[utoipa::path(get, path = "/sources/{source}", tag = "sources",
    responses(
        (status = 200, description = "The source", body = SourceDetail),
        (status = 304, description = "Not modified: the ETag is in If-None-Match")))]
pub(super) async fn show(at: ResourceRequest<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Replace a source: fields that are left out get their defaults, secrets that are left out are
/// removed.
#[utoipa::path(put, path = "/sources/{source}", tag = "sources", request_body = SourceDocument,
    responses(
        (status = 200, description = "The source", body = SourceDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn replace(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a source by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/sources/{source}", tag = "sources", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The source", body = SourceDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn patch(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a source with everything below it.
#[utoipa::path(delete, path = "/sources/{source}", tag = "sources",
    params(("dry_run" = Option<bool>, Query, description = "Only compute the difference")),
    responses(
        (status = 200, description = "Dry run: the difference", body = Applied),
        (status = 204, description = "Removed"),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: ResourceRequest<Admin>) -> Result<Response, Problem> {
    at.remove().await
}

/// Rotate a source's write key. The new key is shown once; the old one is invalid at once.
#[utoipa::path(post, path = "/sources/{source}/rotate-write-key", tag = "sources",
    responses(
        (status = 200, description = "The source, with the secret", body = SourceDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn rotate(at: ResourceRequest<Admin>) -> Result<Response, Problem> {
    at.change(Change::Rotate(XSignatureKey::default())).await
}
