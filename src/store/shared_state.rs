//! What nodes on one database agree on beside the outbox: which node sends to a destination with limits, which
//! circuits are open, and what receivers asked to wait for.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::pipeline::ReceiverWait;
use crate::domain::id::{DestinationId, MappingId, NodeId};
use crate::domain::service_time::ServiceTime;

/// The owner of a destination, as stored. While its node renews it, `beat` rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationOwner {
    /// The destination.
    pub destination_id: DestinationId,
    /// The owner; none once it was released, when nothing of its requests is in flight any more.
    pub node_id: Option<NodeId>,
    /// Rises with each owner.
    pub term: i64,
    /// Rises with each renewal.
    pub beat: i64,
    /// The most that a request of this owner takes.
    pub attempt: Duration,
}

/// A node's wish to own a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// The destination.
    pub destination_id: DestinationId,
    /// Term and beat of the owner that is replaced; none where there has been none.
    pub seen: Option<(i64, i64)>,
    /// The most that a request of the new owner takes.
    pub attempt: Duration,
}

/// An open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedCircuit {
    /// The mapping.
    pub mapping_id: MappingId,
    /// When it opened.
    pub opened_at: ServiceTime,
    /// When the next probe may start.
    pub probe_at: ServiceTime,
    /// The interval that doubles with each failed probe.
    pub interval: Duration,
}

/// A node's changes of circuits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CircuitChanges {
    /// Opened, or a probe failed.
    pub open: Vec<SharedCircuit>,
    /// Closed.
    pub closed: Vec<MappingId>,
}

/// What is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedState {
    /// Owners of destinations with limits, and former ones.
    pub owners: Vec<DestinationOwner>,
    /// Open circuits.
    pub circuits: Vec<SharedCircuit>,
    /// What receivers asked to wait for.
    pub waits: Vec<ReceiverWait>,
    /// Nodes that have not ended.
    pub nodes: u32,
}

/// Steps on what nodes share. On an engine that one process has alone, that process shares with no other.
#[async_trait]
pub trait Sharing: Send + Sync + 'static {
    /// Whether several nodes may use the database: otherwise nothing else of this is called.
    fn is_shared(&self) -> bool;

    /// Reads it.
    async fn shared_state(&self) -> Result<SharedState, StoreError>;

    /// Renews what this node owns, by destination with the most that a request takes; returns what it still
    /// owns. A node that has ended owns nothing.
    async fn renew_owners(
        &self,
        node_id: NodeId,
        owned: Vec<(DestinationId, Duration)>,
    ) -> Result<Vec<DestinationId>, StoreError>;

    /// Makes this node the owner of destinations whose owner is as seen, where no other live node has leases of
    /// theirs. [`Sharing::shared_state`] tells which it owns then.
    async fn take_over(&self, node_id: NodeId, wanted: Vec<Takeover>) -> Result<(), StoreError>;

    /// Releases destinations that this node owns: none of its requests is in flight any more.
    async fn release_owners(
        &self,
        node_id: NodeId,
        owned: Vec<DestinationId>,
    ) -> Result<(), StoreError>;

    /// Stores changes of circuits.
    async fn put_circuits(&self, changes: CircuitChanges) -> Result<(), StoreError>;
}
