//! History: queries of events, deliveries, attempts and dead letters, newest first, by keyset
//! pagination over a bounded number of rows.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::condition::{EventConditions, StatusRange};
use crate::domain::delivery::{Delivery, Reason, State};
use crate::domain::event::{EventType, StoredEvent};
use crate::domain::id::{DeliveryId, DestinationId, EventId, MappingId, SourceId};
use crate::domain::mapping::MappingRevision;

/// A position in a list that is ordered by time and key, newest first: the cursor of keyset
/// pagination. The time is the row's own (an event's receipt, a delivery's acceptance, an attempt's
/// recording, a job's creation). Only the engine compares positions: keys need not be ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time.
    pub at: Timestamp,
    /// The row's key.
    pub key: i64,
}

/// Filter of a list of deliveries; all conditions apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// In this state.
    pub state: Option<State>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations, which the caller's scope covers; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Whose event matches.
    pub event: EventConditions,
    /// Whose last attempt had this outcome.
    pub outcome: Option<Outcome>,
    /// Whose last attempt's HTTP status is in this range.
    pub status: Option<StatusRange>,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Below this position: the cursor of keyset pagination.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// A delivery with the fields that identify its event.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event's type.
    pub event_type: Option<EventType>,
    /// Its event's name.
    pub event_name: Option<String>,
    /// Its event's messageId.
    pub message_id: String,
}

/// Filter of a list of attempts; all conditions apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptQuery {
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// Whose HTTP status is in this range.
    pub status: Option<StatusRange>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations, which the caller's scope covers; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// Of this delivery.
    pub delivery_id: Option<DeliveryId>,
    /// Recorded at or after.
    pub recorded_from: Option<Timestamp>,
    /// Recorded before.
    pub recorded_until: Option<Timestamp>,
    /// Below this position: the cursor of keyset pagination.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// An attempt with the fields that identify its delivery.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// The attempt.
    pub attempt: Attempt,
    /// Its delivery's mapping.
    pub mapping_id: MappingId,
    /// Its delivery's destination.
    pub destination_id: DestinationId,
    /// When its delivery was accepted.
    pub accepted_at: Timestamp,
}

/// Filter of a list of events; all conditions apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// That match.
    pub event: EventConditions,
    /// Of these sources, which the caller's scope covers; none: of any.
    pub among: Option<Vec<SourceId>>,
    /// Only the rejected.
    pub rejected: bool,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Below this position: the cursor of keyset pagination.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// One page of a list. A query scans a bounded number of rows, whatever its filter: a page may have
/// few rows or none although more match beyond it.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The rows that match, newest first.
    pub rows: Vec<T>,
    /// The position of the last row scanned, where the bound ended the scan. None when the page is
    /// full, or the list ends with it.
    pub looked_to: Option<Cursor>,
}

impl<T> Listed<T> {
    /// The page of one scan that ended at `end`, above `floor` or there. A full page ends with its last row, not with the
    /// scan.
    pub(super) fn of_scan(
        rows: Vec<T>,
        limit: u32,
        end: Option<(i64, Timestamp)>,
        floor: i64,
    ) -> Self {
        let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let end = end.filter(|(key, _)| !is_full && *key > floor);
        Self { rows, looked_to: end.map(|(key, at)| Cursor { at, key }) }
    }
}

/// Dead letters of one destination and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The destination.
    pub destination_id: DestinationId,
    /// Why they died.
    pub reason: Reason,
    /// How many there are, up to a bound.
    pub count: u64,
    /// Whether the count reached its bound.
    pub more: bool,
    /// When the first of them died.
    pub oldest_at: Timestamp,
    /// When the last of them died.
    pub newest_at: Timestamp,
}

/// The routing decisions on an event, as far as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// The destinations that its `integrations` object excluded.
    pub skips: Vec<DestinationId>,
    /// The revision of each mapping of its source at acceptance. Mappings created later and mappings
    /// removed since are omitted.
    pub revisions: Vec<(MappingId, MappingRevision)>,
}

/// Queries of what happened.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// One event.
    async fn event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError>;

    /// The routing of an event; empty when there is no such event.
    async fn routing(&self, id: EventId) -> Result<Routing, StoreError>;

    /// Events that match, newest first.
    async fn events(&self, query: EventQuery) -> Result<Listed<StoredEvent>, StoreError>;

    /// One delivery.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, StoreError>;

    /// Deliveries that match, newest first.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Listed<DeliveryRow>, StoreError>;

    /// Dead letters by destination and reason; counts are bounded.
    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Attempts of any delivery that match, newest first.
    async fn attempts(&self, query: AttemptQuery) -> Result<Listed<AttemptRow>, StoreError>;

    /// One delivery's attempts, in the order they were recorded.
    async fn attempts_of(&self, id: DeliveryId) -> Result<Vec<Attempt>, StoreError>;
}
