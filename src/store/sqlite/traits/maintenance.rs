//! The node registry, retention and statistics roll-up on SQLite.

use async_trait::async_trait;

use super::super::{SqliteStore, node, prune, removed, statistics};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{MappingId, NodeId, SourceId};
use crate::domain::source_limiter::UsageOfOthers;
use crate::store::{Maintenance, PruneRequest, Pruned, StatisticsRow, StoreError};

#[async_trait]
impl Maintenance for SqliteStore {
    async fn register_node(&self, name: &str, now: Moment) -> Result<NodeId, StoreError> {
        let step = node::RegisterNode { name: name.to_owned(), now };
        let node_id = self.queue.step(step).await?;
        self.succeeds_others(node_id);
        Ok(node_id)
    }

    async fn heartbeat(&self, node_id: NodeId, now: Moment) -> Result<(), StoreError> {
        self.queue.step(node::Heartbeat { node_id, now }).await
    }

    async fn exchange_usage(
        &self,
        _node_id: NodeId,
        _admitted: Vec<(SourceId, u64)>,
        _since_day: i64,
    ) -> Result<UsageOfOthers, StoreError> {
        Ok(UsageOfOthers::default())
    }

    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError> {
        self.queue.step(prune::Prune(request)).await
    }

    async fn end_removed(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(MappingId, u64)>, StoreError> {
        self.queue.step(removed::EndRemoved { now, limit }).await
    }

    async fn roll_up_statistics(&self, limit: u32) -> Result<Vec<StatisticsRow>, StoreError> {
        self.queue.step(statistics::RollUp { limit }).await
    }

    async fn prune_statistics(&self) -> Result<(), StoreError> {
        self.queue.step(statistics::PruneStatistics).await
    }

    async fn record_backlog(&self, now: Timestamp) -> Result<(), StoreError> {
        self.queue.step(statistics::NoteLevel { now }).await
    }
}
