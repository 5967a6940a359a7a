//! The store: whole business steps on the outbox. Each method is one step that either happened
//! entirely or not at all; no transaction escapes. The only SQL of the crate is below this module.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::attempt::{Attempt, NewAttempt};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::event::{Event, StoredEvent};
use crate::domain::id::{DeliveryId, DestinationId, EventId, JobId, MappingId, NodeId};
use crate::domain::job::{Job, JobAction, JobFilter, NewJob};
use crate::domain::mapping::MappingRevision;
use crate::domain::retry::Next;

mod alert;
mod auth;
mod listed;
mod pipeline;
mod question;
pub mod sqlite;
mod statistics;
mod test_send;

pub use crate::domain::condition::{EventConditions, StatusRange};
pub use alert::AlertStore;
pub use auth::{
    AccessStore, AuditQuery, AuditVerdict, NewToken, Repeat, RepeatKey, Revocation, Token,
};
pub use listed::{
    AttemptQuery, AttemptRow, DeadLetterGroup, DeliveryQuery, DeliveryRow, EventQuery, Listed,
    ListedEvents,
};
pub use pipeline::{
    Connection, ConnectionChange, ConnectionState, Credential, CredentialSlot, Held, Pipeline,
    PipelineChange, SealedSecret, SharedSecret, WriteKey,
};
pub use question::{Finding, JobPreview, JobQuery, JobStep, Ledger, PruneRequest, Pruned, Routing};
pub use statistics::{LATENCY_STEPS_US, Latencies, Level, StatisticsQuery, StatisticsRow};
pub use test_send::{TestSend, TestSendRow};

/// What went wrong in the store; each variant is something a caller decides on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or its free space is below the floor: nothing was written.
    #[error("the disk is full")]
    Full,
    /// Too much is queued already: nothing was written, try again later.
    #[error("the outbox has more queued than it takes")]
    Overloaded,
    /// The database did not take the step: nothing was written.
    #[error("the database failed: {context}")]
    Database {
        /// Which step.
        context: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The store is shutting down or its writer has ended: nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The pipeline changed since it was read.
    #[error("the pipeline has changed meanwhile")]
    Conflict,
    /// A row holds what no version of this program writes.
    #[error("the database holds {what}, which this program does not know")]
    Foreign {
        /// What was found where.
        what: String,
    },
}

/// A lease to be written with a new delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub node_id: NodeId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A delivery to be written with its event. Leased ones get token 1 and are the caller's to try;
/// the others are pending and due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The mapping's destination.
    pub destination_id: DestinationId,
    /// When its window ends.
    pub deadline_at: Timestamp,
    /// The lease it is committed with.
    pub lease: Option<Lease>,
}

/// A destination that the event's `integrations` object kept it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The destination.
    pub destination_id: DestinationId,
}

/// An event to be accepted, with everything that one commit writes together.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event; a rejected one has no deliveries.
    pub event: Arc<Event>,
    /// Its deliveries.
    pub deliveries: Vec<NewDelivery>,
    /// The destinations it was kept from.
    pub skips: Vec<Skip>,
}

/// What became of a [`NewEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Written. Its deliveries have consecutive ids from `first_delivery_id`, in the order given.
    Stored {
        /// The event's key.
        event_id: EventId,
        /// The first delivery's key; meaningless when there are none.
        first_delivery_id: DeliveryId,
    },
    /// Its source had sent the same messageId within 24 hours: nothing written but the count.
    Duplicate,
}

/// How much of one mapping's due deliveries a node wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimWant {
    /// Whose.
    pub mapping_id: MappingId,
    /// At most so many.
    pub limit: u32,
    /// How long the leases last.
    pub lease: Duration,
    /// Deadlines earlier than this are moved to it, and the window's tries start again from none:
    /// the end of the window that re-enabling the mapping or its destination gave.
    pub resumed_deadline_at: Timestamp,
}

/// A claim on due deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// For whom.
    pub node_id: NodeId,
    /// Due at or before this.
    pub now: Timestamp,
    /// Of which mappings, each served on its own so that none waits for another.
    pub wants: Vec<ClaimWant>,
}

/// What a claim gave.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Leased to the node that asked; oldest due first within a mapping.
    pub deliveries: Vec<LeasedDelivery>,
    /// For each wanted mapping that still has pending deliveries: when the next is due (in the past
    /// when the limit cut the claim short).
    pub next_due: Vec<(MappingId, Timestamp)>,
    /// Mappings with pending deliveries that were tried in vain until their deadline, stood before
    /// those leased, and are dead letters now: how many.
    pub overdue: Vec<(MappingId, u64)>,
}

/// A delivery in a node's hands.
#[derive(Clone, Debug)]
pub struct LeasedDelivery {
    /// The key.
    pub id: DeliveryId,
    /// Its event's key.
    pub event_id: EventId,
    /// Its event, shared by all deliveries of it that are in hand.
    pub event: Arc<Event>,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The lease's token; the attempt's number.
    pub token: u32,
    /// Attempts made in this window before this one.
    pub tried: u32,
    /// When its event was accepted; with the key it makes the `webhook-id`.
    pub accepted_at: Timestamp,
    /// When its window ends.
    pub deadline_at: Timestamp,
    /// When the lease ends.
    pub lease_expires_at: Timestamp,
}

/// A lease to be given back unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRef {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The lease's token.
    pub token: u32,
}

/// An attempt to be recorded with what follows from it, in one commit.
#[derive(Clone, Debug)]
pub struct Record {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The token of the lease it was made under.
    pub token: u32,
    /// What it gave.
    pub attempt: NewAttempt,
    /// What follows.
    pub next: Next,
    /// The destination's: with `any`, a success also settles the event's other deliveries there that
    /// are pending or leased. Their leases are lost by it.
    pub policy: DeliveryPolicy,
}

/// What became of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Attempt and new state are written.
    Applied,
    /// The lease was lost before: the attempt is written as late and the state left alone. An
    /// attempt with outcome `unknown` is not written then: it stands for an outcome not known.
    Late,
}

/// Which leases are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryScope {
    /// Whose `lease_expires_at` is at or before this.
    Until(Timestamp),
    /// Those of every other node: after a restart, where only one node can be alive.
    OtherThan(NodeId),
}

/// A lease without an outcome that should have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredLease {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The lease's token.
    pub token: u32,
    /// Who held it.
    pub node_id: NodeId,
    /// When it ended or ends.
    pub expires_at: Timestamp,
    /// Attempts made in this window before this one.
    pub tried: u32,
    /// When the delivery's window ends.
    pub deadline_at: Timestamp,
}

/// The persistent outbox and all that is kept beside it.
#[async_trait]
pub trait Store: AccessStore + AlertStore + Send + Sync + 'static {
    // The outbox.

    /// Writes events, their deliveries and de-duplication keys in one commit, on disk before it
    /// returns. Answers are in the order of `events`.
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError>;

    /// Leases due deliveries, token + 1 each. Pending ones past their deadline that were tried in
    /// this window become dead letters instead; those never tried in it are leased. It may lease fewer
    /// than are due and wanted, though never none: the rest is due next.
    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError>;

    /// Writes attempts and what follows from each, guarded by delivery and token, and settles what a
    /// success is enough for. Answers are in the order of `records`, which the caller keeps: what was not written is to be tried again.
    async fn record(&self, records: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError>;

    /// Gives leases back unused: pending again, due at `due_at`, no attempt made. Stale ones are
    /// passed over. Returns how many were given back.
    async fn release(&self, leases: Vec<LeaseRef>, due_at: Timestamp) -> Result<u64, StoreError>;

    /// Leases in `scope` without an outcome, oldest expiry first; the caller records each as
    /// `unknown`.
    async fn expired_leases(
        &self,
        scope: ExpiryScope,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError>;

    /// Makes dead letters of pending deliveries of these mappings whose window ended and that were
    /// tried in it. Returns how many.
    async fn settle_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError>;

    /// When the next delivery of each mapping is due; mappings with none pending are left out.
    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, Timestamp)>, StoreError>;

    /// Moves due times, deadlines and lease ends by a jump of the clock, in microseconds.
    async fn shift_schedule(&self, micros: i64) -> Result<(), StoreError>;

    /// Discards pending deliveries of removed mappings. Returns how many.
    async fn discard_removed(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;

    // Jobs.

    /// What a job with this filter would do, without doing it.
    async fn preview_job(
        &self,
        action: JobAction,
        filter: JobFilter,
        sample: u32,
    ) -> Result<JobPreview, StoreError>;

    /// Makes a job; what it selects is fixed now: later dead letters are not its own.
    async fn create_job(&self, job: NewJob, act: Act) -> Result<Job, StoreError>;

    /// Takes a running job `limit` deliveries further, progress in the same commit. A job that is
    /// not running is returned as it is; none when there is no such job.
    async fn step_job(
        &self,
        id: JobId,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<JobStep>, StoreError>;

    /// Stops a running job; none when there is no such job.
    async fn cancel_job(&self, id: JobId, act: Act) -> Result<Option<Job>, StoreError>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Jobs that meet all conditions, newest first.
    async fn jobs(&self, query: JobQuery) -> Result<Vec<Job>, StoreError>;

    // What is set up.

    /// All that is set up.
    async fn pipeline(&self) -> Result<Pipeline, StoreError>;

    /// A mapping's revisions, newest first; only those numbered below `before`, if it is given.
    async fn revisions(
        &self,
        mapping_id: MappingId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<MappingRevision>, StoreError>;

    /// Makes all changes in one commit, or none: [`StoreError::Conflict`] when the version is no
    /// longer `expected_version`. Returns the new version.
    async fn change_pipeline(
        &self,
        expected_version: i64,
        changes: Vec<PipelineChange>,
        act: Act,
    ) -> Result<i64, StoreError>;

    /// Changes where a connection stands: [`StoreError::Conflict`] when its number is another, or
    /// the destination is gone. Returns the new number.
    async fn put_connection(&self, change: ConnectionChange, act: Act) -> Result<i64, StoreError>;

    /// Keeps what an operator's test of a mapping gave, and forgets the oldest beyond a hundred of
    /// the mapping.
    async fn record_test(&self, test: TestSend, act: Act) -> Result<(), StoreError>;

    // What can be asked.

    /// A mapping's test sends, newest first.
    async fn test_sends(&self, mapping_id: MappingId) -> Result<Vec<TestSendRow>, StoreError>;

    /// One event.
    async fn event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError>;

    /// What decided where an event went; empty when there is no such event.
    async fn routing(&self, id: EventId) -> Result<Routing, StoreError>;

    /// Events, newest first.
    async fn events(&self, query: EventQuery) -> Result<ListedEvents, StoreError>;

    /// One delivery.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, StoreError>;

    /// Deliveries, newest first.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Listed<DeliveryRow>, StoreError>;

    /// Dead letters by destination and reason, those that are more than so many counted no further.
    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, StoreError>;

    /// Attempts of any delivery, newest first.
    async fn list_attempts(&self, query: AttemptQuery) -> Result<Listed<AttemptRow>, StoreError>;

    /// A delivery's attempts, in the order they were recorded.
    async fn attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, StoreError>;

    /// The ledger as of the last commit, from memory.
    fn ledger(&self) -> Ledger;

    /// Whether intake may write: false below the free-space floor, from memory.
    fn has_room(&self) -> bool;

    // Upkeep.

    /// Enters a process into the list of nodes and gives it its key.
    async fn register_node(&self, name: &str, now: Timestamp) -> Result<NodeId, StoreError>;

    /// Notes that the node lives. At start, the newest such note of any node tells how far the
    /// clock went back while none ran.
    async fn heartbeat(&self, node_id: NodeId, now: Timestamp) -> Result<(), StoreError>;

    /// The newest heartbeat of any node.
    async fn last_seen_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Removes what is past its retention, a step at a time. Never anything pending or leased.
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError>;

    /// Drops de-duplication keys that are older than they need to be.
    async fn rotate_deduplication(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Brings the log into the database file when idle; looks again at the free space.
    async fn tidy(&self) -> Result<(), StoreError>;

    /// What is kept of some mappings' minutes or hours, oldest first; one row a time, of all of them.
    async fn statistics(&self, query: StatisticsQuery) -> Result<Vec<StatisticsRow>, StoreError>;

    /// The same, one row a mapping, of all of the time; a mapping that nothing is kept of has none.
    async fn statistics_by_mapping(
        &self,
        query: StatisticsQuery,
    ) -> Result<Vec<StatisticsRow>, StoreError>;

    /// Adds minutes of statistics to what is kept of them and of their hours; drops what is too old.
    async fn add_statistics(&self, rows: Vec<StatisticsRow>) -> Result<(), StoreError>;

    /// Notes how much waits and is dead this minute, if that changed since it was last noted.
    async fn note_level(&self, now: Timestamp) -> Result<(), StoreError>;

    /// How much waited and was dead at the end of each step of the span in which that changed; the
    /// first tells how it stood before.
    async fn levels(
        &self,
        span: std::ops::Range<Timestamp>,
        step: Duration,
    ) -> Result<Vec<Level>, StoreError>;

    /// Examines the whole store. Slow: it reads everything.
    async fn examine(&self, now: Timestamp) -> Result<Vec<Finding>, StoreError>;

    /// Commits what is queued, then closes. Later calls give [`StoreError::Closed`].
    async fn close(&self);
}
