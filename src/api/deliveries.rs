//! Deliveries: list and get.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};

use super::authentication::Authenticated;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::deliveries::{DeliveryDetail, DeliveryView};
use crate::service::page::Page;

/// List deliveries, newest first.
///
/// A query scans a bounded number of rows: a page may hold fewer items than its limit, or none, and
/// still have a `next`; `looked_to` then says how far back it scanned.
#[utoipa::path(get, path = "/deliveries", tag = "deliveries",
    responses((status = 200, description = "A page", body = Page<DeliveryView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<DeliveryView>, Problem> {
    Ok(Paged(api.service.deliveries(&caller, &conditions).await?))
}

/// Get a delivery with its event and its attempts.
#[utoipa::path(get, path = "/deliveries/{id}", tag = "deliveries",
    responses((status = 200, description = "The delivery", body = DeliveryDetail)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(api.service.delivery(&caller, &id).await?))
}
