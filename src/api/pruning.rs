//! Pruning on request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::Admin;
use crate::service::pruning::{PruneRequest, PrunedView};

/// Prune events past their retention, or past a shorter age, with their deliveries and attempts.
///
/// Events with a pending or leased delivery stay. A call removes a limited number and takes some seconds at
/// most; `more` says whether another one may remove more. De-duplication is not affected.
#[utoipa::path(post, path = "/prune", tag = "service", request_body = PruneRequest,
    responses(
        (status = 200, description = "What was removed", body = PrunedView),
        (status = 409, description = "The clock stepped: the ages of records are in doubt", body = Problem)))]
pub(super) async fn prune(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<PruneRequest>,
) -> Result<Json<PrunedView>, Problem> {
    Ok(Json(api.service.prune(&admin, request).await?))
}
