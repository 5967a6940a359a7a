//! What only PostgreSQL needs: partitions of the days ahead and their statistics, rotation of the de-duplication
//! slots, and the consistency check.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::server_state::ServerState;
use super::super::{
    PostgresStore, dedup, integrity_check, ledger, node, partition, repair, schema_version,
    service_time,
};
use crate::domain::auth::Act;
use crate::domain::clock::Moment;
use crate::domain::service_time::ServiceTime;
use crate::store::{
    ConsistencyCheck, Engine, EngineDuty, Finding, Inbox, LedgerRepair, Recurrence, StoreError,
};

/// How often partitions are looked for: they are made days ahead.
const PARTITION_INTERVAL: Duration = Duration::from_secs(3_600);
/// How often silent nodes are looked for.
const SILENCE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the partitioned tables are analyzed: a day's partition grows all day.
const ANALYZE_INTERVAL: Duration = Duration::from_secs(3 * 3_600);
/// How often the server's state is read, for the metrics.
const SERVER_INTERVAL: Duration = Duration::from_secs(60);
/// How often slots are rotated: a slot has turns of hours.
const ROTATION_INTERVAL: Duration = Duration::from_secs(600);

#[async_trait]
impl ConsistencyCheck for PostgresStore {
    async fn check_consistency(&self, now: ServiceTime) -> Result<Vec<Finding>, StoreError> {
        const CONTEXT: &str = "check the database";
        let mut conn = self.reader(CONTEXT).await?;
        integrity_check::check(&mut conn, now).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn check_server(&self, now: ServiceTime) -> Result<Vec<Finding>, StoreError> {
        Ok(self.server_state(now).await?.findings())
    }

    async fn repair_ledger(&self, act: Act, dry_run: bool) -> Result<LedgerRepair, StoreError> {
        self.step(repair::RepairLedger { act, dry_run }).await
    }
}

#[async_trait]
impl Engine for PostgresStore {
    fn schema_version(&self) -> i64 {
        schema_version()
    }

    fn duties(self: Arc<Self>) -> Vec<EngineDuty> {
        let (divided, watched) = (Arc::clone(&self), Arc::clone(&self));
        let (analyzed, shown) = (Arc::clone(&self), Arc::clone(&self));
        let rotated = self;
        vec![
            EngineDuty::new("partitions", Recurrence::Every(PARTITION_INTERVAL), move |now| {
                let store = Arc::clone(&divided);
                async move { store.make_partitions(now).await }
            }),
            EngineDuty::new("silent nodes", Recurrence::Every(SILENCE_INTERVAL), move |now| {
                let store = Arc::clone(&watched);
                async move { store.end_silent_nodes(now).await }
            }),
            EngineDuty::new("server state", Recurrence::Every(SERVER_INTERVAL), move |now| {
                let store = Arc::clone(&shown);
                async move {
                    store.server_state(now).await?.show(&store.shared.metrics);
                    Ok(())
                }
            }),
            EngineDuty::new("analyze", Recurrence::Every(ANALYZE_INTERVAL), move |_now| {
                let store = Arc::clone(&analyzed);
                async move { store.step(partition::Analyze).await }
            }),
            EngineDuty::new("deduplication", Recurrence::Every(ROTATION_INTERVAL), move |now| {
                let store = Arc::clone(&rotated);
                async move { store.rotate_slots(now).await }
            }),
        ]
    }

    fn inbox(self: Arc<Self>) -> Option<Arc<dyn Inbox>> {
        Some(self)
    }

    async fn last_moment(&self) -> Result<Option<Moment>, StoreError> {
        const CONTEXT: &str = "read the service time";
        let mut conn = self.reader(CONTEXT).await?;
        let service =
            service_time::now(&mut conn).await.map_err(|error| to_store(CONTEXT, error))?;
        Ok(Some(Moment { wall: self.shared.clock.now(), service }))
    }

    async fn failed(&self) -> String {
        // The database outlives this process: what is durable can be asked for. But a node that has ended changes
        // nothing any more.
        let mut ended = self.shared.ended.subscribe();
        if ended.wait_for(|ended| *ended).await.is_err() {
            std::future::pending::<()>().await;
        }
        "another node has ended this one, whose heartbeat was late".to_owned()
    }

    async fn close(&self) {
        self.queue.close().await;
        if let Some(taker) = self.inbox_taker.lock().await.take() {
            taker.close().await;
        }
        let now = self.shared.clock.moment();
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

impl PostgresStore {
    /// Rotates the slots if it is time; this node's filters follow, whichever node rotated.
    async fn rotate_slots(&self, now: ServiceTime) -> Result<(), StoreError> {
        self.step(dedup::Rotate { now }).await?;
        self.shared.refresh_filters().await
    }

    async fn server_state(&self, now: ServiceTime) -> Result<ServerState, StoreError> {
        const CONTEXT: &str = "read the server's state";
        let mut conn = self.reader(CONTEXT).await?;
        ServerState::read(&mut conn, now).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn end_silent_nodes(&self, now: ServiceTime) -> Result<(), StoreError> {
        let ended = self.step(node::EndSilent { now }).await?;
        if ended > 0 {
            tracing::warn!(ended, "ended nodes without a heartbeat; their leases expire");
        }
        Ok(())
    }
}
