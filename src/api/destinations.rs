//! Destinations: listed, shown, made, changed, removed; their shared secrets rotated.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::Value;

use super::authentication::As;
use super::body::Body;
use super::page::Paged;
use super::resource::{self, At};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Change, DestinationDocument, Target};
use crate::service::Condition;
use crate::service::deliveries::Page;
use crate::service::resources::{DestinationDetail, named};

/// Every destination, by name.
#[utoipa::path(get, path = "/destinations", tag = "destinations",
    responses((status = 200, description = "All of them", body = Page<DestinationDetail>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<DestinationDetail>, Problem> {
    Ok(Paged(api.service.destinations(&caller, &conditions).await?))
}

/// Make a destination.
#[utoipa::path(post, path = "/destinations", tag = "destinations", request_body = DestinationDetail,
    responses((status = 201, description = "Made", body = DestinationDetail)))]
pub(super) async fn create(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [source, name] = named(&body, ["source", "name"])?;
    let target = Target::Destination(source, name);
    resource::create(&api, &admin, &target, body).await
}

/// A destination, with the ETag that a change of it can be guarded by.
#[utoipa::path(get, path = "/destinations/{source}/{destination}", tag = "destinations",
    responses(
        (status = 200, description = "The destination", body = DestinationDetail),
        (status = 304, description = "It is what If-None-Match names")))]
pub(super) async fn show(at: At<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Make a destination what is written here: what is left out has its default, and left out secrets go.
#[utoipa::path(put, path = "/destinations/{source}/{destination}", tag = "destinations", request_body = DestinationDocument,
    responses(
        (status = 200, description = "The destination now", body = DestinationDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn replace(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a destination by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/destinations/{source}/{destination}", tag = "destinations", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The destination now", body = DestinationDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn patch(at: At<Admin>, Body(body): Body<Value>) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a destination, with all that is below it.
#[utoipa::path(delete, path = "/destinations/{source}/{destination}", tag = "destinations",
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: At<Admin>) -> Result<Response, Problem> {
    at.change(Change::Remove).await
}

/// Give a destination another shared secret, shown this once; the one before signs as well for a while.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/rotate-shared-secret", tag = "destinations",
    responses(
        (status = 200, description = "The destination, with the secret", body = DestinationDetail),
        (status = 412, description = "It has changed since it was read", body = Problem)))]
pub(super) async fn rotate(at: At<Admin>) -> Result<Response, Problem> {
    at.change(Change::Rotate).await
}
