//! Dead letters: lists by filter, and groups.

use std::sync::Arc;

use axum::extract::{Query, State};

use super::authentication::As;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::deliveries::{DeliveryView, Page};

/// Dead letters that meet all conditions, newest first.
///
/// One look goes over a bounded number of rows: a page may hold fewer than asked for, or none, and
/// still have a `next`; `looked_to` then says how far back it looked.
#[utoipa::path(get, path = "/dead-letters", tag = "dead letters",
    responses((status = 200, description = "A page of them", body = Page<DeliveryView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<DeliveryView>, Problem> {
    Ok(Paged(api.service.dead_letters(&caller, &conditions).await?))
}

/// Dead letters by destination and reason, the largest group first.
#[utoipa::path(get, path = "/dead-letters/groups", tag = "dead letters",
    responses((status = 200, description = "The groups", body = Page<DeadLetterGroupView>)))]
pub(super) async fn groups(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Paged<DeadLetterGroupView>, Problem> {
    Ok(Paged(api.service.dead_letter_groups(&caller).await?))
}
