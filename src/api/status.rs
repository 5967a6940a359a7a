//! The service as it stands, and what an examination of its store finds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::{Api, Problem};
use crate::desk::status::{FindingView, StatusView};

pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<StatusView>, Problem> {
    Ok(Json(api.desk.status().await?))
}

pub(super) async fn doctor(State(api): State<Arc<Api>>) -> Result<Json<Vec<FindingView>>, Problem> {
    Ok(Json(api.desk.doctor().await?))
}
