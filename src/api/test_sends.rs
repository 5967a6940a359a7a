//! Test sends: a mapping tried on an event, and those that were kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::authentication::As;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::service::test_sends::{Names, TestBody, TestSendList, TestView};

/// Try a mapping on an event, and send what that gives if told to.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/tests", tag = "mappings",
    request_body = TestBody,
    responses((status = 200, description = "What it gave", body = TestView)))]
pub(super) async fn test(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
    Body(body): Body<TestBody>,
) -> Result<Json<TestView>, Problem> {
    Ok(Json(api.service.test_mapping(&operator, &names, &body).await?))
}

/// A mapping's test sends that are kept, newest first.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/tests", tag = "mappings",
    responses((status = 200, description = "The test sends", body = TestSendList)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<TestSendList>, Problem> {
    Ok(Json(api.service.test_sends(&caller, &names).await?))
}
