//! Attempts: list over all deliveries.

use std::sync::Arc;

use axum::extract::{Query, State};

use super::authentication::Authenticated;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::attempts::ListedAttempt;
use crate::service::page::Page;

/// List attempts, newest first.
///
/// A query scans a bounded number of rows: a page may hold fewer items than its limit, or none, and
/// still have a `next`; `looked_to` then says how far back it scanned.
#[utoipa::path(get, path = "/attempts", tag = "deliveries",
    responses((status = 200, description = "A page", body = Page<ListedAttempt>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<ListedAttempt>, Problem> {
    Ok(Paged(api.service.attempts(&caller, &conditions).await?))
}
