//! The node registry, retention and statistics roll-up on PostgreSQL.

use async_trait::async_trait;

use super::super::{PostgresStore, day_drop, node, prune, removed, source_admissions, statistics};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{MappingId, NodeId, SourceId};
use crate::domain::source_limiter::UsageOfOthers;
use crate::store::{Maintenance, PruneRequest, Pruned, StatisticsRow, StoreError};

#[async_trait]
impl Maintenance for PostgresStore {
    async fn register_node(&self, name: &str, now: Moment) -> Result<NodeId, StoreError> {
        self.prepare_partitions(now.service).await;
        let step = node::RegisterNode { name: name.to_owned(), now };
        self.step(step).await
    }

    async fn heartbeat(&self, node_id: NodeId, now: Moment) -> Result<(), StoreError> {
        if !self.step(node::Heartbeat { node_id, now }).await? {
            self.shared.ended.send_replace(true);
        }
        Ok(())
    }

    async fn exchange_usage(
        &self,
        node_id: NodeId,
        admitted: Vec<(SourceId, u64)>,
        since_day: i64,
    ) -> Result<UsageOfOthers, StoreError> {
        self.step(source_admissions::ExchangeUsage { node_id, admitted, since_day }).await
    }

    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError> {
        let large_day = self.large_day;
        let dropped = match self.step(day_drop::DropDay { request, large_day }).await {
            Ok(dropped) => dropped,
            Err(StoreError::Database { source, .. }) => {
                // A table was in use for long: the sweep, and the next run.
                tracing::warn!(%source, "a day past retention was not dropped");
                Pruned::default()
            }
            Err(error) => return Err(error),
        };
        let from = self.pruned_to();
        let prune::Swept { pruned, next } =
            self.step(prune::Prune { request, from, large_day }).await?;
        self.set_pruned_to(next);
        Ok(Pruned {
            events: dropped.events + pruned.events,
            deliveries: dropped.deliveries + pruned.deliveries,
            attempts: dropped.attempts + pruned.attempts,
            more: dropped.more || pruned.more,
        })
    }

    async fn end_removed(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(MappingId, u64)>, StoreError> {
        self.step(removed::EndRemoved { now, limit }).await
    }

    async fn roll_up_statistics(&self, limit: u32) -> Result<Vec<StatisticsRow>, StoreError> {
        self.step(statistics::RollUp { limit }).await
    }

    async fn prune_statistics(&self) -> Result<(), StoreError> {
        self.step(statistics::PruneStatistics).await
    }

    async fn record_backlog(&self, now: Timestamp) -> Result<(), StoreError> {
        self.step(statistics::NoteLevel { now }).await
    }
}
