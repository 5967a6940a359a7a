//! Test sends: a mapping tried on an event, and those that were kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::body::Body;
use super::{Api, Problem};
use crate::desk::test_sends::{Names, TestBody, TestSendList, TestView};

/// `POST /mappings/{source}/{destination}/{mapping}/tests`.
pub(super) async fn test(
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
    Body(body): Body<TestBody>,
) -> Result<Json<TestView>, Problem> {
    Ok(Json(api.desk.test_mapping(&names, &body).await?))
}

/// `GET /mappings/{source}/{destination}/{mapping}/tests`.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<TestSendList>, Problem> {
    Ok(Json(api.desk.test_sends(&names).await?))
}
