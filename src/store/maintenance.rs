//! Maintenance that every engine needs: the node registry, retention, statistics roll-up.

use async_trait::async_trait;

use super::StoreError;
use super::statistics::StatisticsRow;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{MappingId, NodeId, SourceId};
use crate::domain::service_time::ServiceTime;
use crate::domain::source_limiter::UsageOfOthers;

/// What retention prunes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneRequest {
    /// Events all of whose deliveries were delivered or discarded before this, and events without
    /// deliveries that were received before it.
    pub settled_before: ServiceTime,
    /// Events whose remaining deliveries died before this.
    pub dead_before: ServiceTime,
    /// At most so many events in this step.
    pub limit: u32,
}

/// What one step of retention pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Attempts.
    pub attempts: u64,
    /// Whether another step may find more.
    pub more: bool,
}

/// Periodic steps of every engine. Each is idempotent, so several nodes may run them.
#[async_trait]
pub trait Maintenance: Send + Sync + 'static {
    /// Registers this process as a node and returns its key, which no other process gets.
    async fn register_node(&self, name: &str, now: Moment) -> Result<NodeId, StoreError>;

    /// Records that the node is alive, and the moment: after a restart service time continues from it. An engine with several nodes ends those that stay silent: their
    /// leases expire, and they may not write under the ended key.
    async fn heartbeat(&self, node_id: NodeId, now: Moment) -> Result<(), StoreError>;

    /// Tells the other nodes what this one has admitted from sources with limits since it started, and returns what
    /// they have, from this day on.
    async fn exchange_usage(
        &self,
        node_id: NodeId,
        admitted: Vec<(SourceId, u64)>,
        since_day: i64,
    ) -> Result<UsageOfOthers, StoreError>;

    /// Prunes what is past its retention, a bounded step at a time. Never anything pending or leased.
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError>;

    /// Makes dead letters, with the reason `removed`, of pending deliveries of removed mappings, a
    /// bounded step at a time. Returns how many of each mapping; empty at the end.
    async fn end_removed(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(MappingId, u64)>, StoreError>;

    /// Adds the oldest counts that are not rolled up to their minutes and hours, a bounded step at a time.
    /// Returns them: one row a minute and mapping; empty at the end.
    async fn roll_up_statistics(&self, limit: u32) -> Result<Vec<StatisticsRow>, StoreError>;

    /// Prunes minutes and hours of statistics past their retention.
    async fn prune_statistics(&self) -> Result<(), StoreError>;

    /// Records the backlog and the number of dead letters of this minute, if they changed.
    async fn record_backlog(&self, now: Timestamp) -> Result<(), StoreError>;
}
