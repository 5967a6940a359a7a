//! Deliveries: lists by filter, and one with its event and its attempts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::events::EventView;
use super::filter::{self, Condition, destination_path, mapping_path};
use super::{Refusal, Service};
use crate::domain::attempt::Attempt;
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, DestinationId, Noun, PublicId};
use crate::store::{DeliveryQuery, DeliveryRow, Listed, Pipeline};

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to give as `before` for the next one; none on the last.
    pub next: Option<String>,
    /// Until when this page looked back, where that was as far as one look goes and there is more: it
    /// may then hold fewer items than asked for, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_to: Option<String>,
}

/// A delivery as it is shown. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, which its receiver sees as `webhook-id`.
    pub id: String,
    /// Its event's id.
    pub event_id: String,
    /// Its event's type.
    pub event_type: Option<String>,
    /// Its event's name.
    pub event_name: Option<String>,
    /// Its event's messageId.
    pub message_id: String,
    /// Its destination, `source/destination`; none when that was removed.
    pub destination: Option<String>,
    /// Its mapping, `source/destination/mapping`; none when that was removed.
    pub mapping: Option<String>,
    /// Where it stands.
    pub state: String,
    /// Why it is dead; only while dead.
    pub reason: Option<String>,
    /// Attempts made, whole life.
    pub attempts: u32,
    /// Attempts made in the window now running.
    pub tried: u32,
    /// How the last attempt ended.
    pub last_outcome: Option<String>,
    /// The HTTP status that the last attempt got.
    pub last_status: Option<u16>,
    /// When its event was accepted.
    pub accepted_at: String,
    /// Why it is not tried although it is due: its destination waits to be connected, or it or its
    /// mapping is disabled. Only while pending.
    #[serde(default)]
    pub held: Option<String>,
    /// When it is tried next; only while pending.
    pub due_at: Option<String>,
    /// When its window ends.
    pub deadline_at: String,
    /// When its lease ends; only while leased.
    pub lease_expires_at: Option<String>,
    /// When it was delivered, died or was discarded.
    pub settled_at: Option<String>,
    /// The event's other delivery whose success settled this one, where the destination's policy is
    /// `any`; none for one that its own receiver took.
    pub settled_by: Option<String>,
}

/// An attempt as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its id.
    pub id: String,
    /// Which try of the delivery it was.
    pub number: u32,
    /// Recorded after its lease was lost.
    pub late: bool,
    /// The process that made it: its number in the database's list of nodes.
    pub node: i64,
    /// The mapping revision it was rendered with: its number in the database.
    pub revision: i64,
    /// When it began.
    pub started_at: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: String,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What its insert function wrote to the console, a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, a line each, secrets masked.
    pub request_headers: String,
    /// The span that it was of its event's trace, as the receiver was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// SHA-256 of the request's body, in hex.
    pub body_sha256: Option<String>,
    /// The answer's headers, a line each.
    pub response_headers: String,
    /// The answer's body as far as it is kept; what is not UTF-8 in it is replaced.
    pub response_body: String,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
    /// The batch that it was part of: request and answer are those of the whole batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchView>,
}

/// A batch as its attempts show it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// The `webhook-id` it was sent under.
    pub webhook_id: String,
    /// How many deliveries it carried.
    pub size: u32,
    /// The HTTP status of the answer to all of it.
    pub status: Option<u16>,
}

/// A delivery with all that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: DeliveryView,
    /// Its event; none once retention removed it.
    pub event: Option<EventView>,
    /// Its attempts, in the order they were recorded.
    pub attempts: Vec<AttemptView>,
}

impl DeliveryView {
    pub(super) fn of(row: &DeliveryRow, pipeline: &Pipeline) -> Self {
        let delivery = &row.delivery;
        let id = |noun, key| PublicId::new(noun, delivery.accepted_at, key).to_string();
        let path = |path: Vec<String>| (!path.is_empty()).then(|| path.join("/"));
        Self {
            id: id(Noun::Delivery, delivery.id.0),
            event_id: id(Noun::Event, delivery.event_id.0),
            event_type: row.event_type.map(|kind| kind.as_str().to_owned()),
            event_name: row.event_name.clone(),
            message_id: row.message_id.clone(),
            destination: path(destination_path(pipeline, delivery.destination_id)),
            mapping: path(mapping_path(pipeline, delivery.mapping_id)),
            state: delivery.state.as_str().to_owned(),
            reason: delivery.reason.map(|reason| reason.as_str().to_owned()),
            attempts: delivery.token,
            tried: delivery.tried,
            last_outcome: delivery.last_outcome.map(|outcome| outcome.as_str().to_owned()),
            last_status: delivery.last_status,
            accepted_at: delivery.accepted_at.to_iso(),
            held: held(row, pipeline),
            due_at: delivery.due_at.map(Timestamp::to_iso),
            deadline_at: delivery.deadline_at.to_iso(),
            lease_expires_at: delivery.lease_expires_at.map(Timestamp::to_iso),
            settled_at: delivery.settled_at.map(Timestamp::to_iso),
            settled_by: delivery.settled_by.map(|by| id(Noun::Delivery, by.0)),
        }
    }
}

/// Why a pending delivery waits whatever its due time says.
fn held(row: &DeliveryRow, pipeline: &Pipeline) -> Option<String> {
    let delivery = &row.delivery;
    if delivery.state != State::Pending {
        return None;
    }
    let destination = pipeline.destinations.iter().find(|it| it.id == delivery.destination_id)?;
    let mapping = pipeline.mappings.iter().find(|it| it.id == delivery.mapping_id)?;
    if !destination.enabled {
        return Some("the destination is disabled".to_owned());
    }
    if !mapping.enabled {
        return Some("the mapping is disabled".to_owned());
    }
    pipeline.held(destination).map(|why| why.to_string())
}

impl AttemptView {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let made = &attempt.made;
        let exchange = made.exchange();
        Self {
            id: PublicId::new(Noun::Attempt, attempt.recorded_at, attempt.id.0).to_string(),
            number: attempt.number,
            late: attempt.late,
            node: made.node_id.0,
            revision: made.revision_id.0,
            started_at: made.started_at.to_iso(),
            duration_us: made.duration_us,
            outcome: made.outcome.as_str().to_owned(),
            status: made.status,
            error: made.error.clone(),
            console: made.console.clone(),
            url: exchange.url.to_owned(),
            request_headers: exchange.request_headers.to_owned(),
            traceparent: traceparent(exchange.request_headers),
            body_sha256: exchange.body_sha256.map(hex::encode),
            response_headers: exchange.response_headers.to_owned(),
            response_body: String::from_utf8_lossy(exchange.response_body).into_owned(),
            response_truncated: exchange.response_truncated,
            batch: made.batch.as_ref().map(|batch| BatchView {
                webhook_id: batch.webhook_id.clone(),
                size: batch.size,
                status: batch.status,
            }),
        }
    }
}

impl Service {
    /// A page of the deliveries that meet the conditions, newest first.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DeliveryView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let query = filter::deliveries(conditions, &pipeline)?;
        self.list_deliveries(caller, query, &pipeline).await
    }

    pub(super) async fn list_deliveries(
        &self,
        caller: &Caller,
        mut query: DeliveryQuery,
        pipeline: &Pipeline,
    ) -> Result<Page<DeliveryView>, Refusal> {
        query.among = among(caller, pipeline);
        let limit = query.limit;
        // One more than asked for tells whether there is a next page.
        query.limit += 1;
        let listed = self.store.deliveries(query).await?;
        let at = |it: &DeliveryRow| (it.delivery.id.0, it.delivery.accepted_at);
        Ok(Page::of(listed, limit, Noun::Delivery, at, |row| DeliveryView::of(row, pipeline)))
    }

    /// A delivery by its id.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn delivery(&self, caller: &Caller, text: &str) -> Result<DeliveryDetail, Refusal> {
        let id = PublicId::parse_as(text, Noun::Delivery)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let pipeline = self.pipeline(caller).await?;
        let seen = among(caller, &pipeline);
        let row = self.store.delivery(DeliveryId(id.key)).await?;
        let row = row
            .filter(|row| row.delivery.accepted_at == id.created_at)
            .filter(|row| seen.is_none_or(|ids| ids.contains(&row.delivery.destination_id)))
            .ok_or_else(|| Refusal::Missing(format!("delivery {text}")))?;
        let attempts = self.store.attempts(row.delivery.id).await?;
        let event = self.store.event(row.delivery.event_id).await?;
        Ok(DeliveryDetail {
            delivery: DeliveryView::of(&row, &pipeline),
            event: event.map(|event| EventView::of(&event, &pipeline)),
            attempts: attempts.iter().map(AttemptView::of).collect(),
        })
    }
}

/// The destinations that a caller's deliveries are among; none: all, also those of removed ones.
pub(super) fn among(caller: &Caller, pipeline: &Pipeline) -> Option<Vec<DestinationId>> {
    caller.scope.limits()?;
    Some(pipeline.destinations.iter().map(|it| it.id).collect())
}

impl<T> Page<T> {
    /// A whole list.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, looked_to: None }
    }

    /// The first `limit` of what was listed, and where the next page begins.
    pub(super) fn of<R>(
        listed: Listed<R>,
        limit: u32,
        noun: Noun,
        at: impl Fn(&R) -> (i64, Timestamp),
        view: impl Fn(&R) -> T,
    ) -> Self {
        let Listed { mut rows, looked_to } = listed;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let id = |(key, at): (i64, Timestamp)| PublicId::new(noun, at, key).to_string();
        if rows.len() > limit {
            rows.truncate(limit);
            let next = rows.last().map(|last| id(at(last)));
            return Self { items: rows.iter().map(view).collect(), next, looked_to: None };
        }
        Self {
            items: rows.iter().map(view).collect(),
            next: looked_to.map(id),
            looked_to: looked_to.map(|(_, at)| at.to_iso()),
        }
    }
}

fn traceparent(request_headers: &str) -> Option<String> {
    let mut lines = request_headers.lines();
    lines.find_map(|line| line.strip_prefix("traceparent: ")).map(str::to_owned)
}
