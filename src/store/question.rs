//! What the store can be asked, and what it answers: lists, counts, examinations, upkeep.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::listed::DeliveryRow;
use crate::domain::clock::Timestamp;
use crate::domain::id::{DestinationId, JobId, MappingId};
use crate::domain::job::{Job, JobAction, JobState};
use crate::domain::mapping::MappingRevision;

/// What decided where an event went, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// The destinations that its `integrations` kept it from.
    pub skips: Vec<DestinationId>,
    /// The revision that each mapping of its source had when the event was accepted; mappings made
    /// later and mappings removed since have none.
    pub revisions: Vec<(MappingId, MappingRevision)>,
}

/// What a list of jobs is narrowed to; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// That do this.
    pub action: Option<JobAction>,
    /// In this state.
    pub state: Option<JobState>,
    /// Only keys below this: the cursor; newest come first.
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: u32,
}

/// What a job would do.
#[derive(Clone, Debug)]
pub struct JobPreview {
    /// How many deliveries match; not more than are counted.
    pub matched: u64,
    /// Whether more may match than were counted.
    pub more: bool,
    /// The first of them.
    pub sample: Vec<DeliveryRow>,
}

/// What a step of a job did.
#[derive(Clone, Debug)]
pub struct JobStep {
    /// The job after the step.
    pub job: Job,
    /// The mappings whose deliveries became due by it.
    pub due: Vec<MappingId>,
}

/// What retention removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneRequest {
    /// Events all of whose deliveries were delivered or discarded before this, and events without
    /// deliveries received before it.
    pub settled_before: Timestamp,
    /// Events whose remaining deliveries died before this.
    pub dead_before: Timestamp,
    /// At most so many events in this step.
    pub limit: u32,
}

/// What a step of retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Attempts.
    pub attempts: u64,
    /// Whether another step would find more to look at.
    pub more: bool,
}

/// One finding of the store's own examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was examined: `integrity`, `ledger`, `foreign_keys`, `leases`, `disk`, …
    pub check: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// What was found, with numbers.
    pub detail: String,
}

/// Deliveries by state and the totals that go with them; kept in the same commits as the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LedgerView)]
pub struct Ledger {
    /// Events accepted, rejected ones not counted.
    pub events_accepted: u64,
    /// Events kept as rejected.
    pub events_rejected: u64,
    /// Messages acknowledged as duplicates.
    pub events_duplicate: u64,
    /// Deliveries made with their events.
    pub accepted: u64,
    /// Deliveries now pending.
    pub pending: u64,
    /// Deliveries now leased.
    pub leased: u64,
    /// Deliveries now delivered, pruned ones included.
    pub delivered: u64,
    /// Deliveries now dead, pruned ones included.
    pub dead: u64,
    /// Deliveries now discarded, pruned ones included.
    pub discarded: u64,
    /// Of the delivered, those that retention removed.
    #[serde(skip)]
    pub delivered_pruned: u64,
    /// Of the dead, those that retention removed.
    #[serde(skip)]
    pub dead_pruned: u64,
    /// Of the discarded, those that retention removed.
    #[serde(skip)]
    pub discarded_pruned: u64,
}

impl Ledger {
    /// Deliveries that are still to be made.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.pending + self.leased
    }

    /// Dead letters that are kept.
    #[must_use]
    pub const fn dead_letters(&self) -> u64 {
        self.dead.saturating_sub(self.dead_pruned)
    }
}
