//! Deliveries: lists by filter, and one with its event and its attempts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};

use super::authentication::As;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::deliveries::{DeliveryDetail, DeliveryView, Page};

/// Deliveries that meet all conditions, newest first.
///
/// One look goes over a bounded number of rows: a page may hold fewer than asked for, or none, and
/// still have a `next`; `looked_to` then says how far back it looked.
#[utoipa::path(get, path = "/deliveries", tag = "deliveries",
    responses((status = 200, description = "A page of them", body = Page<DeliveryView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<DeliveryView>, Problem> {
    Ok(Paged(api.service.deliveries(&caller, &conditions).await?))
}

/// A delivery with its event and its attempts.
#[utoipa::path(get, path = "/deliveries/{id}", tag = "deliveries",
    responses((status = 200, description = "The delivery", body = DeliveryDetail)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(api.service.delivery(&caller, &id).await?))
}
