//! Sources: listed, shown, made, changed, removed; their write keys rotated.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::Value;

use super::authentication::As;
use super::body::Body;
use super::resource::{self, At};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Change, SourceDocument, Target};
use crate::service::Condition;
use crate::service::deliveries::Page;
use crate::service::resources::{SourceDetail, named};

/// Every source, by name.
#[utoipa::path(get, path = "/sources", tag = "sources",
    responses((status = 200, description = "All of them", body = Page<SourceDetail>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<SourceDetail>>, Problem> {
    Ok(Json(api.service.sources(&caller, &conditions).await?))
}

/// Make a source.
#[utoipa::path(post, path = "/sources", tag = "sources", request_body = SourceDocument,
    responses((status = 201, description = "Made", body = SourceDetail)))]
pub(super) async fn create(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [name] = named(&body, ["name"])?;
    let target = Target::Source(name);
    resource::create(&api, &admin, &target, body).await
}

/// A source, with the ETag that a change of it can be guarded by.
#[utoipa::path(get, path = "/sources/{source}", tag = "sources",
    responses(
        (status = 200, description = "The source", body = SourceDetail),
        (status = 304, description = "It is what If-None-Match names")))]
pub(super) async fn show(at: At<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Make a source what is written here: what is left out has its default, and left out secrets go.
#[utoipa::path(put, path = "/sources/{source}", tag = "sources", request_body = SourceDocument,
    responses(
        (status = 200, description = "The source now", body = SourceDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn replace(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a source by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/sources/{source}", tag = "sources", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The source now", body = SourceDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn patch(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a source, with all that is below it.
#[utoipa::path(delete, path = "/sources/{source}", tag = "sources",
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: At<Admin>) -> Result<Response, Problem> {
    at.change(Change::Remove).await
}

/// Give a source another write key, shown this once; the one before stops letting in.
#[utoipa::path(post, path = "/sources/{source}/rotate-write-key", tag = "sources",
    responses(
        (status = 200, description = "The source, with the secret", body = SourceDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn rotate(at: At<Admin>) -> Result<Response, Problem> {
    at.change(Change::Rotate).await
}
