//! The delivery queue: leasing due deliveries, recording attempts, expiring leases. Fencing tokens
//! guard every state change.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::pauses::Pauses;
use super::shared_state::Sharing;
use crate::domain::attempt::NewAttempt;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::delivery::State;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MappingId, NodeId};
use crate::domain::retry::Next;
use crate::domain::service_time::ServiceTime;

/// How many of one mapping's due deliveries a claim leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimWant {
    /// The mapping.
    pub mapping_id: MappingId,
    /// At most so many.
    pub limit: u32,
    /// Duration of the leases.
    pub lease: Duration,
    /// The end of the retry window that re-enabling the mapping or its destination opened. Earlier
    /// deadlines are moved to it, and the attempts of the window count from zero.
    pub resumed_deadline_at: ServiceTime,
    /// Whether this node sends as the destination's owner: it leases nothing once it is not.
    pub as_owner: bool,
    /// Whether the mapping's circuit is open: one probe at a time is leased, whichever nodes claim.
    pub is_probe: bool,
}

/// A claim on due deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The node that leases.
    pub node_id: NodeId,
    /// Deliveries due at or before this.
    pub now: Moment,
    /// The mappings; each is served independently of the others' backlog.
    pub wants: Vec<ClaimWant>,
}

/// The result of a claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Leased to the requesting node; within a mapping the oldest due first.
    pub deliveries: Vec<LeasedDelivery>,
    /// For each wanted mapping with pending deliveries left: when the next is due (in the past when
    /// the claim reached its limit).
    pub next_due: Vec<(MappingId, ServiceTime)>,
    /// Deliveries past their deadline that the claim moved to the dead letters, by mapping.
    pub overdue: Vec<(MappingId, u64)>,
}

/// A delivery leased to this node.
#[derive(Clone, Debug)]
pub struct LeasedDelivery {
    /// The key.
    pub id: DeliveryId,
    /// Its event's key.
    pub event_id: EventId,
    /// Its event; deliveries leased together share one copy.
    pub event: Arc<Event>,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The fencing token, which is the attempt's number.
    pub token: u32,
    /// Attempts made in this retry window before this one.
    pub tried: u32,
    /// When its event was accepted; part of the `webhook-id`.
    pub accepted_at: Timestamp,
    /// When its retry window ends.
    pub deadline_at: ServiceTime,
    /// When the lease expires.
    pub lease_expires_at: ServiceTime,
}

/// A lease, by delivery and fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRef {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The fencing token.
    pub token: u32,
}

/// An attempt and the state change that follows from it; one commit writes both.
#[derive(Clone, Debug)]
pub struct Record {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The fencing token of the lease that the attempt was made under.
    pub token: u32,
    /// The attempt.
    pub attempt: NewAttempt,
    /// The delivery's next state.
    pub next: Next,
    /// The destination's policy. With `any`, a success also settles the event's other pending or
    /// leased deliveries of the destination and invalidates their leases.
    pub policy: DeliveryPolicy,
}

/// The result of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Attempt and state change were committed.
    Applied,
    /// The fencing token is stale: the attempt was stored as late and the state left unchanged. A
    /// stale attempt with outcome `unknown` is not stored.
    Late,
}

/// A lease that ended without a recorded outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredLease {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The fencing token.
    pub token: u32,
    /// The owner.
    pub node_id: NodeId,
    /// When it expires; in the future where its node ended.
    pub expires_at: ServiceTime,
    /// Attempts made in this retry window before this one.
    pub tried: u32,
    /// Attempts of unknown outcome before this one.
    pub unknown: u32,
    /// When the delivery's retry window ends.
    pub deadline_at: ServiceTime,
}

/// When deliveries are due.
#[async_trait]
pub trait DueTimes: Send + Sync + 'static {
    /// When the next delivery of each mapping is due; mappings with nothing pending are omitted.
    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, ServiceTime)>, StoreError>;
}

/// Claiming, recording, releasing and expiring. At-least-once: a delivery leaves `pending` and
/// `leased` only by a recorded outcome.
#[async_trait]
pub trait DeliveryQueue: DueTimes + Pauses + Sharing {
    /// Leases due deliveries and increments their fencing tokens. No two claims lease the same
    /// delivery, whichever nodes they come from. Pending deliveries past their deadline that were
    /// tried in this window become dead letters; those never tried in it are leased. A claim may lease
    /// fewer than are due and wanted, but never none; the rest is in [`Claim::next_due`].
    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError>;

    /// Commits attempts and their state changes, each guarded by delivery and fencing token. Results
    /// are in the order of `records`. Idempotent: the caller keeps the records and sends them again
    /// after an error, and what was already committed is not applied twice.
    async fn record(&self, records: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError>;

    /// Releases leases without an attempt: pending again, due at `due_at`. Stale leases are ignored.
    /// Returns how many were released.
    async fn release(&self, leases: Vec<LeaseRef>, due_at: ServiceTime) -> Result<u64, StoreError>;

    /// Extends leases that are still held: they expire at `until`. Stale leases are ignored.
    async fn extend(&self, leases: Vec<LeaseRef>, until: ServiceTime) -> Result<(), StoreError>;

    /// Leases without an outcome whose owner will not record one: past their expiry at `now`, or owned
    /// by a node that the engine knows to have ended. The caller records each as `unknown`, after which it
    /// is no longer found.
    async fn expired_leases(
        &self,
        now: ServiceTime,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError>;

    /// Moves pending deliveries to the dead letters whose retry window ended and that were tried in
    /// it, in one step: at most as many as the largest limit. Returns how many. Its cost does not grow with the
    /// backlog.
    async fn bury_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError>;

    /// A delivery's state; none when there is no such delivery.
    async fn delivery_state(&self, id: DeliveryId) -> Result<Option<State>, StoreError>;
}
