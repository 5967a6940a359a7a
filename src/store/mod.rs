//! The store: traits of whole business steps, one trait a noun. A method is atomic; no transaction
//! escapes. The crate's only SQL is below this module: [`sqlite`] and [`postgres`].
//!
//! Contracts that hold on every engine, with one node or with many:
//! - Times come from the caller's `Clock`, unless an engine keeps schedules in the database's time.
//! - Keys are unique and never reused. Callers derive no order, no time and no neighbour from a key's
//!   value; positions in lists are [`Cursor`]s, which only the engine compares.
//! - A write has committed, durably, when its method returns `Ok`. On `Err` nothing was written.
//! - Other nodes may change anything between two calls: guards (fencing tokens, versions, numbers) are
//!   checked inside the step.

mod alerts;
mod application;
mod audit;
mod bloom;
pub mod consistency;
mod delivery_queue;
mod engine;
mod error;
mod failure;
mod history;
mod idempotency;
mod inbox;
mod jobs;
mod maintenance;
mod message_key;
mod open;
mod outbox;
mod pauses;
mod pipeline;
mod pipeline_change;
mod pipeline_store;
mod pipeline_subject;
pub mod postgres;
mod row;
mod scan_limits;
mod shared_state;
pub mod sqlite;
mod statement;
mod statistics;
mod statistics_counts;
mod statistics_sums;
mod stored_filter;
mod test_sends;
mod tokens;
pub mod transfer;

pub use crate::domain::condition::{EventConditions, StatusRange};
pub use alerts::AlertStore;
pub use application::{
    ApplicationError, ApplicationInbox, ApplicationRow, application_inbox, grant_enqueue,
    init_inbox,
};
pub use audit::{AuditLog, AuditQuery, AuditVerdict};
pub use consistency::{ConsistencyCheck, Finding, LedgerRepair};
pub use delivery_queue::{
    Claim, ClaimRequest, ClaimWant, DeliveryQueue, DueTimes, ExpiredLease, LeaseRef,
    LeasedDelivery, Record, Recorded,
};
pub use engine::{Engine, EngineDuty, Recurrence};
pub use error::{EngineError, StoreError};
pub use history::{
    AttemptQuery, AttemptRow, Cursor, DeadLetterGroup, DeliveryQuery, DeliveryRow, EventQuery,
    History, Listed, Routing,
};
pub use idempotency::{IdempotencyKey, IdempotencyKeys, IdempotencyState};
pub use inbox::{Inbox, InboxRouter, InboxRow, InboxTake, RoutedRow, WaitingSource};
pub use jobs::{
    BackfillCursor, BackfillPage, BackfillStep, JobPreview, JobQuery, JobStep, Jobs,
    RunningBackfill,
};
pub use maintenance::{Maintenance, PruneRequest, Pruned};
pub use open::{OpenError, OpenRequest, open};
pub use outbox::{Accepted, Capacity, DeliveryIds, Lease, NewDelivery, NewEvent, Outbox, Skip};
pub use pauses::Pauses;
pub use pipeline::{
    Connection, ConnectionChange, ConnectionState, Credential, CredentialSlot, HoldReason,
    Pipeline, ReceiverWait, RefreshTurn, SharedSecret, WriteKey,
};
pub use pipeline_change::PipelineChange;
pub use pipeline_store::PipelineStore;
pub use shared_state::{
    CircuitChanges, DestinationOwner, SharedCircuit, SharedState, Sharing, Takeover,
};
pub use statistics::{
    BacklogSample, LATENCY_STEPS_US, Latencies, Statistics, StatisticsQuery, StatisticsRow,
};
pub use test_sends::{TestSend, TestSendRow, TestSends};
pub use tokens::{NewToken, Revocation, Token, Tokens};

/// What operators query and change, through whichever surface: everything but accepting, leasing,
/// tokens and maintenance.
pub trait OperatorStore:
    AlertStore
    + AuditLog
    + Capacity
    + ConsistencyCheck
    + DueTimes
    + History
    + IdempotencyKeys
    + Jobs
    + Pauses
    + PipelineStore
    + Statistics
    + TestSends
{
}

impl<T> OperatorStore for T where
    T: AlertStore
        + AuditLog
        + Capacity
        + ConsistencyCheck
        + DueTimes
        + History
        + IdempotencyKeys
        + Jobs
        + Pauses
        + PipelineStore
        + Statistics
        + TestSends
{
}

/// Everything an engine provides: for wiring and tests. Rooms take the traits that they need.
pub trait Store: DeliveryQueue + Engine + Maintenance + OperatorStore + Outbox + Tokens {}

impl<T: DeliveryQueue + Engine + Maintenance + OperatorStore + Outbox + Tokens> Store for T {}
