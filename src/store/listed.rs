//! Lists of events and deliveries: what they are narrowed to, and how far one look goes.

use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::condition::{EventConditions, StatusRange};
use crate::domain::delivery::{Delivery, Reason, State};
use crate::domain::event::{EventType, StoredEvent};
use crate::domain::id::{AttemptId, DeliveryId, DestinationId, EventId, MappingId, SourceId};

/// What a list of deliveries is narrowed to; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// In this state.
    pub state: Option<State>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations: what whoever asks may see; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Whose event meets these.
    pub event: EventConditions,
    /// Whose last attempt ended so.
    pub outcome: Option<Outcome>,
    /// Whose last attempt got an HTTP status among these.
    pub status: Option<StatusRange>,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Only keys below this: the cursor; newest come first.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

/// A delivery in a list, with what names its event.
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

/// What a list of attempts is narrowed to; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptQuery {
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// That got an HTTP status among these.
    pub status: Option<StatusRange>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations: what whoever asks may see; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// Of this delivery.
    pub delivery_id: Option<DeliveryId>,
    /// Recorded at or after.
    pub recorded_from: Option<Timestamp>,
    /// Recorded before.
    pub recorded_until: Option<Timestamp>,
    /// Only keys below this: the cursor; newest come first.
    pub before: Option<AttemptId>,
    /// At most so many.
    pub limit: u32,
}

/// An attempt in a list, with what names its delivery.
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

/// What a list of events is narrowed to; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// That are like this.
    pub event: EventConditions,
    /// Of these sources: what whoever asks may see; none: of any.
    pub among: Option<Vec<SourceId>>,
    /// Only the rejected.
    pub rejected: bool,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Only keys below this: the cursor; newest come first.
    pub before: Option<EventId>,
    /// At most so many.
    pub limit: u32,
}

/// What one look at a list found. A look goes over a bounded number of rows, whatever the list is
/// narrowed to: it may find few or none, and there may be more further on.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// What was found, newest first.
    pub rows: Vec<T>,
    /// How far the look went, where there is more beyond it: the key and the time of acceptance of
    /// the last row that it went over. None when the rows are as many as were asked for, or all.
    pub looked_to: Option<(i64, Timestamp)>,
}

/// Events that one look found.
pub type ListedEvents = Listed<StoredEvent>;

/// Dead letters that have reason and destination in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// Whose they are.
    pub destination_id: DestinationId,
    /// Why they are dead.
    pub reason: Reason,
    /// How many there are; not more than are counted.
    pub count: u64,
    /// Whether there are more than are counted.
    pub more: bool,
    /// When the first of them died.
    pub oldest_at: Timestamp,
    /// When the last of them died.
    pub newest_at: Timestamp,
}
