//! Attempts: a list over all deliveries.

use std::sync::Arc;

use axum::extract::{Query, State};

use super::authentication::As;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::attempts::ListedAttempt;
use crate::service::deliveries::Page;

/// Attempts that meet all conditions, newest first.
///
/// One look goes over a bounded number of rows: a page may hold fewer than asked for, or none, and
/// still have a `next`; `looked_to` then says how far back it looked.
#[utoipa::path(get, path = "/attempts", tag = "deliveries",
    responses((status = 200, description = "A page of them", body = Page<ListedAttempt>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<ListedAttempt>, Problem> {
    Ok(Paged(api.service.attempts(&caller, &conditions).await?))
}
