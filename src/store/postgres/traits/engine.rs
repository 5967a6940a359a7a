//! What only PostgreSQL needs: partitions of the days ahead, rotation of the de-duplication slots, and the
//! consistency check.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, dedup, integrity_check, lease, ledger, node, schema_version};
use crate::domain::clock::Timestamp;
use crate::store::{
    ConsistencyCheck, Engine, EngineDuty, Finding, NodeTimeSchedule, Recurrence, StoreError,
};

/// How often partitions are looked for: they are made days ahead.
const PARTITION_INTERVAL: Duration = Duration::from_secs(3_600);
/// How often slots are rotated: a slot has turns of hours.
const ROTATION_INTERVAL: Duration = Duration::from_secs(600);

#[async_trait]
impl ConsistencyCheck for PostgresStore {
    async fn check_consistency(&self, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        const CONTEXT: &str = "check the database";
        let mut conn = self.reader(CONTEXT).await?;
        integrity_check::check(&mut conn, now).await.map_err(|error| to_store(CONTEXT, error))
    }
}

#[async_trait]
impl NodeTimeSchedule for PostgresStore {
    async fn last_heartbeat_at(&self) -> Result<Option<Timestamp>, StoreError> {
        const CONTEXT: &str = "read the newest heartbeat";
        let mut conn = self.reader(CONTEXT).await?;
        node::last_seen_at(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn shift(&self, micros: i64) -> Result<(), StoreError> {
        self.step(lease::Shift { micros }).await
    }
}

#[async_trait]
impl Engine for PostgresStore {
    fn schema_version(&self) -> i64 {
        schema_version()
    }

    fn duties(self: Arc<Self>) -> Vec<EngineDuty> {
        let (divided, rotated) = (Arc::clone(&self), self);
        vec![
            EngineDuty::new("partitions", Recurrence::Every(PARTITION_INTERVAL), move |_now| {
                let store = Arc::clone(&divided);
                async move { store.make_partitions().await }
            }),
            EngineDuty::new("deduplication", Recurrence::Every(ROTATION_INTERVAL), move |now| {
                let store = Arc::clone(&rotated);
                async move { store.step(dedup::Rotate { now }).await }
            }),
        ]
    }

    fn node_time_schedule(self: Arc<Self>) -> Option<Arc<dyn NodeTimeSchedule>> {
        Some(self)
    }

    async fn failed(&self) -> String {
        // The database outlives this process: what is durable can be asked for.
        std::future::pending().await
    }

    async fn close(&self) {
        self.queue.close().await;
        let now = self.shared.clock.now();
        if let Err(error) = self.step(node::EndNode { now }).await
            && !matches!(error, StoreError::Closed)
        {
            tracing::warn!(%error, "the node's end is not on record: its leases expire later");
        }
        if let Ok(mut conn) = self.shared.readers.acquire().await
            && let Ok(sum) = ledger::read(&mut conn).await
        {
            *self.last_ledger() = Some(sum);
        }
        self.shared.readers.close().await;
        self.shared.workers.close().await;
    }
}
