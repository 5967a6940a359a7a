//! The node registry, retention and statistics roll-up on PostgreSQL.

use async_trait::async_trait;

use super::super::{PostgresStore, node, prune, removed, statistics};
use crate::domain::clock::Timestamp;
use crate::domain::id::{MappingId, NodeId};
use crate::store::{Maintenance, PruneRequest, Pruned, StatisticsRow, StoreError};

#[async_trait]
impl Maintenance for PostgresStore {
    async fn register_node(&self, name: &str, now: Timestamp) -> Result<NodeId, StoreError> {
        let step = node::RegisterNode { name: name.to_owned(), now };
        self.step(step).await
    }

    async fn heartbeat(&self, node_id: NodeId, now: Timestamp) -> Result<(), StoreError> {
        self.step(node::Heartbeat { node_id, now }).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError> {
        let swept = self.step(prune::Prune { request, from: self.pruned_to() }).await?;
        self.set_pruned_to(swept.next);
        Ok(swept.pruned)
    }

    async fn end_removed(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(MappingId, u64)>, StoreError> {
        self.step(removed::EndRemoved { now, limit }).await
    }

    async fn add_statistics(&self, rows: Vec<StatisticsRow>) -> Result<(), StoreError> {
        self.step(statistics::AddStatistics(rows)).await
    }

    async fn record_backlog(&self, now: Timestamp) -> Result<(), StoreError> {
        self.step(statistics::NoteLevel { now }).await
    }
}
