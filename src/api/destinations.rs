//! Destinations: list, get, create, change, remove, rotate the shared secret.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::authentication::Authenticated;
use super::body::Body;
use super::page::Paged;
use super::resource::{self, ResourceRequest};
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::domain::destination::XSignatureKey;
use crate::pipeline::{Applied, Change, DestinationDocument, Target};
use crate::service::Condition;
use crate::service::page::Page;
use crate::service::resources::{DestinationDetail, named};

/// List destinations, by name.
#[utoipa::path(get, path = "/destinations", tag = "destinations",
    responses((status = 200, description = "The whole list", body = Page<DestinationDetail>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<DestinationDetail>, Problem> {
    Ok(Paged(api.service.destinations(&caller, &conditions).await?))
}

/// Create a destination.
#[utoipa::path(post, path = "/destinations", tag = "destinations", request_body = DestinationDetail,
    responses((status = 201, description = "Created", body = DestinationDetail)))]
pub(super) async fn create(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    let [source, name] = named(&body, ["source", "name"])?;
    let target = Target::Destination(source, name);
    resource::create(&api, &admin, &target, body).await
}

/// Get a destination with its ETag.
#[utoipa::path(get, path = "/destinations/{source}/{destination}", tag = "destinations",
    responses(
        (status = 200, description = "The destination", body = DestinationDetail),
        (status = 304, description = "Not modified: the ETag is in If-None-Match")))]
pub(super) async fn show(at: ResourceRequest<Caller>) -> Result<Response, Problem> {
    at.show().await
}

/// Replace a destination: fields that are left out get their defaults, secrets that are left out
/// are removed.
#[utoipa::path(put, path = "/destinations/{source}/{destination}", tag = "destinations", request_body = DestinationDocument,
    responses(
        (status = 200, description = "The destination", body = DestinationDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn replace(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Put(body)).await
}

/// Change a destination by a JSON merge patch (RFC 7396).
#[utoipa::path(patch, path = "/destinations/{source}/{destination}", tag = "destinations", request_body = serde_json::Value,
    responses(
        (status = 200, description = "The destination", body = DestinationDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn patch(
    at: ResourceRequest<Admin>,
    Body(body): Body<Value>,
) -> Result<Response, Problem> {
    at.change(Change::Patch(body)).await
}

/// Remove a destination with everything below it.
#[utoipa::path(delete, path = "/destinations/{source}/{destination}", tag = "destinations",
    params(("dry_run" = Option<bool>, Query, description = "Only compute the difference")),
    responses(
        (status = 200, description = "Dry run: the difference", body = Applied),
        (status = 204, description = "Removed"),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn remove(at: ResourceRequest<Admin>) -> Result<Response, Problem> {
    at.remove().await
}

/// Rotate a destination's shared secret. The new secret is shown once; the old one signs as well
/// until its overlap ends. `x_signature` chooses the one that signs `X-Signature`, which carries one
/// signature, until then: the current one, by default, or the previous one.
#[utoipa::path(post, path = "/destinations/{source}/{destination}/rotate-shared-secret", tag = "destinations",
    params(RotateQuery),
    responses(
        (status = 200, description = "The destination, with the secret", body = DestinationDetail),
        (status = 412, description = "The precondition failed: it has changed since it was read", body = Problem)))]
pub(super) async fn rotate(
    at: ResourceRequest<Admin>,
    query: Result<Query<RotateQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::malformed(error.body_text()))?;
    at.change(Change::Rotate(query.x_signature)).await
}

/// How to rotate.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RotateQuery {
    /// The key of `X-Signature` while the previous secret is active.
    #[serde(default)]
    #[param(inline)]
    x_signature: XSignatureKey,
}
