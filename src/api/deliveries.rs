//! Deliveries: lists by filter, and one with its event and its attempts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};

use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::deliveries::{DeliveryDetail, DeliveryView, Page};

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    Ok(Json(api.desk.deliveries(&conditions).await?))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(api.desk.delivery(&id).await?))
}
