//! Jobs: redrives, discards and backfills of many deliveries by an operator, durable and resumable.

use serde::{Deserialize, Serialize};

use super::attempt::Outcome;
use super::condition::{EventConditions, StatusRange};
use super::delivery::{Reason, State};
use super::id::{DeliveryId, DestinationId, EventId, JobId, MappingId, TokenId};
use crate::domain::clock::Timestamp;

/// What a job does to each selected delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobAction {
    /// `dead -> pending`, due now, with a fresh window.
    Redrive,
    /// `pending | dead -> discarded`.
    Discard,
    /// Makes deliveries of one mapping from kept events.
    Backfill,
}

impl JobAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Redrive, Self::Discard, Self::Backfill];

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// The name in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
            Self::Backfill => "backfill",
        }
    }

    /// Whether the action applies to a delivery in this state.
    #[must_use]
    pub const fn takes(self, state: State) -> bool {
        match (self, state) {
            (Self::Redrive | Self::Discard, State::Dead) | (Self::Discard, State::Pending) => true,
            // It takes events.
            (Self::Backfill, State::Dead | State::Pending)
            | (_, State::Leased | State::Delivered | State::Discarded)
            | (Self::Redrive, State::Pending) => false,
        }
    }
}

/// The filter of a job: all conditions must hold, and at least one is set. They are the filters of the
/// list of deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// These deliveries; empty: any.
    pub delivery_ids: Vec<DeliveryId>,
    /// Of this destination.
    pub destination_id: Option<DestinationId>,
    /// Of these destinations, the scope of the token that created it; none: of any.
    pub among: Option<Vec<DestinationId>>,
    /// The token that created it, which is no condition; none for jobs of older versions.
    pub asked_by: Option<TokenId>,
    /// Of this mapping.
    pub mapping_id: Option<MappingId>,
    /// In this state; for a redrive always dead.
    pub state: Option<State>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Whose event matches these.
    pub event: EventConditions,
    /// Whose last attempt had this outcome.
    pub outcome: Option<Outcome>,
    /// Accepted at or after.
    pub accepted_from: Option<Timestamp>,
    /// Accepted before.
    pub accepted_until: Option<Timestamp>,
    /// Whose last attempt got an HTTP status in this range.
    pub status: Option<StatusRange>,
    /// Of a backfill: also from events that have a delivery for the mapping already.
    pub again: bool,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// In progress; resumed after a restart.
    Running,
    /// All selected deliveries were processed.
    Done,
    /// Cancelled by an operator; changes already made remain.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Cancelled];

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The name in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its action.
    pub action: JobAction,
    /// Its filter.
    pub filter: JobFilter,
    /// Rate limit in deliveries per second; none: no limit.
    pub rate_per_second: Option<u32>,
    /// The name of the token that created it.
    pub actor: String,
    /// The operator's note.
    pub note: Option<String>,
}

/// A job as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The key.
    pub id: JobId,
    /// The job as created.
    pub spec: NewJob,
    /// Its state.
    pub state: JobState,
    /// Deliveries that matched at creation, up to the counting limit.
    pub matched: u64,
    /// Whether more than the counting limit matched.
    pub more: bool,
    /// Deliveries processed so far.
    pub done: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}
