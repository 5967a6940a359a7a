//! The node registry, retention and statistics roll-up on SQLite.

use async_trait::async_trait;

use super::super::{SqliteStore, node, prune, removed, statistics};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{MappingId, NodeId};
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

    async fn add_statistics(&self, rows: Vec<StatisticsRow>) -> Result<(), StoreError> {
        self.queue.step(statistics::AddStatistics(rows)).await
    }

    async fn record_backlog(&self, now: Timestamp) -> Result<(), StoreError> {
        self.queue.step(statistics::NoteLevel { now }).await
    }
}
