//! Test sends: test a mapping with an event, and list recorded tests.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::service::test_sends::{Names, TestBody, TestSendList, TestView};

/// Test a mapping with an event; the request is sent on demand.
#[utoipa::path(post, path = "/mappings/{source}/{destination}/{mapping}/tests", tag = "mappings",
    request_body = TestBody,
    responses((status = 200, description = "The result", body = TestView)))]
pub(super) async fn test(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
    Body(body): Body<TestBody>,
) -> Result<Json<TestView>, Problem> {
    Ok(Json(api.service.test_mapping(&operator, &names, &body).await?))
}

/// List a mapping's recorded test sends, newest first.
#[utoipa::path(get, path = "/mappings/{source}/{destination}/{mapping}/tests", tag = "mappings",
    responses((status = 200, description = "The test sends", body = TestSendList)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(names): Path<Names>,
) -> Result<Json<TestSendList>, Problem> {
    Ok(Json(api.service.test_sends(&caller, &names).await?))
}
