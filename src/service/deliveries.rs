//! Deliveries: list, and one with its event and its attempts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempt_view::AttemptView;
use super::event_view::EventView;
use super::filter::{self, Condition, destination_path, mapping_path};
use super::page::Page;
use super::scope::visible_destinations;
use super::search::Search;
use super::{Service, ServiceError, pauses};
use crate::domain::auth::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, Noun, PublicId};
use crate::domain::service_time::ServiceTime;
use crate::mapping::CompiledMapping;
use crate::store::{Cursor, DeliveryQuery, DeliveryRow, Pipeline};

/// A delivery. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, sent to the receiver as `webhook-id`.
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
    /// Its state.
    pub state: String,
    /// The reason of the dead letter; only while dead.
    pub reason: Option<String>,
    /// Attempts over its whole life.
    pub attempts: u32,
    /// Attempts in the current delivery window.
    pub tried: u32,
    /// The outcome of the last attempt.
    pub last_outcome: Option<String>,
    /// The HTTP status of the last attempt.
    pub last_status: Option<u16>,
    /// When its event was accepted.
    pub accepted_at: String,
    /// Why it is held although it is due: its destination is not connected, or the destination or
    /// mapping is disabled. Only while pending.
    #[serde(default)]
    pub held: Option<String>,
    /// The time of the next attempt; only while pending.
    pub due_at: Option<String>,
    /// The end of its delivery window.
    pub deadline_at: String,
    /// When its lease expires; only while leased.
    pub lease_expires_at: Option<String>,
    /// When it was delivered, dead-lettered or discarded.
    pub settled_at: Option<String>,
    /// The event's other delivery whose success settled this one, with the destination's policy
    /// `any`; none when its own receiver accepted it.
    pub settled_by: Option<String>,
}

/// A delivery with its event and its attempts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: DeliveryView,
    /// Its event; none once it was pruned.
    pub event: Option<EventView>,
    /// Its attempts, in the order of recording.
    pub attempts: Vec<AttemptView>,
}

impl DeliveryView {
    pub(super) fn of(row: &DeliveryRow, pipeline: &Pipeline, clock: &dyn Clock) -> Self {
        let delivery = &row.delivery;
        let wall = |at: ServiceTime| clock.to_wall(at).to_iso();
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
            due_at: delivery.due_at.map(wall),
            deadline_at: wall(delivery.deadline_at),
            lease_expires_at: delivery.lease_expires_at.map(wall),
            settled_at: delivery.settled_at.map(Timestamp::to_iso),
            settled_by: delivery.settled_by.map(|by| id(Noun::Delivery, by.0)),
        }
    }
}

/// Why a pending delivery is held whatever its due time.
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
    if let Some(pause) = pipeline.pause_of(mapping) {
        return Some(pauses::why(pause));
    }
    if CompiledMapping::compile(&mapping.revision.definition).is_err() {
        return Some("this version cannot compile the mapping".to_owned());
    }
    pipeline.held(destination).map(|why| why.to_string())
}

impl Service {
    /// A page of the deliveries that match, newest first.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DeliveryView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let conditions = filter::absolute(conditions, self.clock.now());
        let query = filter::deliveries(&conditions, &pipeline)?;
        if !self.names_exist(caller, &conditions, &pipeline).await? {
            return Ok(Page { items: Vec::new(), next: None, looked_to: None });
        }
        self.list_deliveries(caller, query, &pipeline).await
    }

    pub(super) async fn list_deliveries(
        &self,
        caller: &Caller,
        mut query: DeliveryQuery,
        pipeline: &Pipeline,
    ) -> Result<Page<DeliveryView>, ServiceError> {
        query.among = visible_destinations(caller, pipeline);
        let limit = query.limit;
        // One row beyond the limit shows whether there is a next page.
        query.limit += 1;
        let mut search = Search::of(query.limit);
        while let Some(next) = search.add(self.store.deliveries(query.clone()).await?) {
            (query.before, query.limit) = (Some(next.before), next.limit);
        }
        let at = |it: &DeliveryRow| Cursor { at: it.delivery.accepted_at, key: it.delivery.id.0 };
        Ok(Page::of(search.end(), limit, Noun::Delivery, at, |row| {
            DeliveryView::of(row, pipeline, &*self.clock)
        }))
    }

    /// A delivery by its id.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn delivery(
        &self,
        caller: &Caller,
        text: &str,
    ) -> Result<DeliveryDetail, ServiceError> {
        let id = PublicId::parse_as(text, Noun::Delivery)
            .map_err(|error| ServiceError::Malformed(error.to_string()))?;
        let pipeline = self.pipeline(caller).await?;
        let seen = visible_destinations(caller, &pipeline);
        let row = self.store.delivery(DeliveryId(id.key)).await?;
        let row = row
            .filter(|row| row.delivery.accepted_at == id.created_at)
            .filter(|row| seen.is_none_or(|ids| ids.contains(&row.delivery.destination_id)))
            .ok_or_else(|| ServiceError::Missing(format!("delivery {text}")))?;
        let attempts = self.store.attempts_of(row.delivery.id).await?;
        let event = self.store.event(row.delivery.event_id).await?;
        Ok(DeliveryDetail {
            delivery: DeliveryView::of(&row, &pipeline, &*self.clock),
            event: event.map(|event| EventView::of(&event, &pipeline)),
            attempts: attempts.iter().map(AttemptView::of).collect(),
        })
    }
}
