//! Deliveries: lists by filter, and one with its event and its attempts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};

use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::deliveries::{DeliveryDetail, DeliveryView, Page};

/// Deliveries that meet all conditions, newest first.
#[utoipa::path(get, path = "/deliveries", tag = "deliveries",
    responses((status = 200, description = "A page of them", body = Page<DeliveryView>)))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    Ok(Json(api.desk.deliveries(&conditions).await?))
}

/// A delivery with its event and its attempts.
#[utoipa::path(get, path = "/deliveries/{id}", tag = "deliveries",
    responses((status = 200, description = "The delivery", body = DeliveryDetail)))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(api.desk.delivery(&id).await?))
}
