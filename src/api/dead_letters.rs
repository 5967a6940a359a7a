//! Dead letters: lists by filter, and groups.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};

use super::token::As;
use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::dead_letters::DeadLetterGroupView;
use crate::desk::deliveries::{DeliveryView, Page};
use crate::domain::access::Caller;

/// Dead letters that meet all conditions, newest first.
///
/// One look goes over a bounded number of rows: a page may hold fewer than asked for, or none, and
/// still have a `next`; `looked_to` then says how far back it looked.
#[utoipa::path(get, path = "/dead-letters", tag = "dead letters",
    params(
        ("destination" = Option<String>, Query, description = "Of this destination, by path, name or id"),
        ("mapping" = Option<String>, Query, description = "Of this mapping, by path, name or id"),
        ("reason" = Option<crate::domain::delivery::Reason>, Query, description = "Dead for this reason"),
        ("outcome" = Option<crate::domain::attempt::Outcome>, Query, description = "Whose last attempt ended so"),
        ("status" = Option<String>, Query, description = "Whose last attempt got this status: 503, or 5xx"),
        ("event" = Option<String>, Query, description = "Of this event, by id"),
        ("source" = Option<String>, Query, description = "Of this source, by name or id"),
        ("type" = Option<crate::domain::event::EventType>, Query, description = "Of events of this type"),
        ("name" = Option<String>, Query, description = "Of events of this name"),
        ("user_id" = Option<String>, Query, description = "Of events of this user"),
        ("message_id" = Option<String>, Query, description = "Of events with this messageId"),
        ("since" = Option<String>, Query, description = "Accepted at or after", format = DateTime),
        ("until" = Option<String>, Query, description = "Accepted before", format = DateTime),
        ("before" = Option<String>, Query, description = "What the page before gave as `next`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many; 50 when left out")
    ),
    responses((status = 200, description = "A page of them", body = Page<DeliveryView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    Ok(Json(api.desk.dead_letters(&caller, &conditions).await?))
}

/// Dead letters by destination and reason, the largest group first.
#[utoipa::path(get, path = "/dead-letters/groups", tag = "dead letters",
    responses((status = 200, description = "The groups", body = Page<DeadLetterGroupView>)))]
pub(super) async fn groups(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<DeadLetterGroupView>>, Problem> {
    Ok(Json(api.desk.dead_letter_groups(&caller).await?))
}
