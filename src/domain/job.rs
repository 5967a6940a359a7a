//! Jobs: an operator's redrive or discard of many deliveries, durable and resumable.

use serde::{Deserialize, Serialize};

use super::attempt::Outcome;
use super::condition::{EventConditions, StatusRange};
use super::delivery::{Reason, State};
use super::id::{DeliveryId, DestinationId, EventId, JobId, MappingId};
use crate::domain::clock::Timestamp;

/// What a job does to each delivery it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobAction {
    /// `dead -> pending`, due now, with a fresh window.
    Redrive,
    /// `pending | dead -> discarded`.
    Discard,
}

impl JobAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Redrive, Self::Discard];

    /// The action of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// The word in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }

    /// Whether the action applies to a delivery in this state.
    #[must_use]
    pub const fn takes(self, state: State) -> bool {
        match (self, state) {
            (_, State::Dead) | (Self::Discard, State::Pending) => true,
            (_, State::Leased | State::Delivered | State::Discarded)
            | (Self::Redrive, State::Pending) => false,
        }
    }
}

/// Which deliveries a job selects: all conditions hold. At least one is given; they are those that
/// a list of deliveries is narrowed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// These very deliveries; empty: any.
    pub delivery_ids: Vec<DeliveryId>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations: what whoever asked may act on; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// In this state; for a redrive always dead.
    pub state: Option<State>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Whose event meets these.
    pub event: EventConditions,
    /// Whose last attempt ended so.
    pub outcome: Option<Outcome>,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Whose last attempt got an HTTP status among these.
    pub status: Option<StatusRange>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Goes on, also after a restart.
    Running,
    /// Went through all it selected.
    Done,
    /// An operator stopped it; what it did stays done.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Cancelled];

    /// The state of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The word in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What it does.
    pub action: JobAction,
    /// What it selects.
    pub filter: JobFilter,
    /// Deliveries a second at most; none: as fast as the store takes them.
    pub rate_per_second: Option<u32>,
    /// Who asked.
    pub actor: String,
    /// Why, in the operator's words.
    pub note: Option<String>,
}

/// A job as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The key.
    pub id: JobId,
    /// What was asked for.
    pub asked: NewJob,
    /// Where it stands.
    pub state: JobState,
    /// Deliveries that matched when it was made; not more than are counted.
    pub matched: u64,
    /// Whether more matched than were counted.
    pub more: bool,
    /// Deliveries acted on so far.
    pub done: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was done or cancelled.
    pub finished_at: Option<Timestamp>,
}
