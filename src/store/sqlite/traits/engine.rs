//! What only SQLite needs: checkpoints, compaction and rotation of the de-duplication tables,
//! schedules that follow the node's clock, and the consistency check of the file.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{
    SqliteStore, dedup, integrity_check, repair, schema_version, service_time, vacuum,
};
use crate::domain::auth::Act;
use crate::domain::clock::Moment;
use crate::domain::service_time::ServiceTime;
use crate::store::{
    ConsistencyCheck, Engine, EngineDuty, Finding, Inbox, LedgerRepair, Recurrence, StoreError,
};

/// How often the WAL is checkpointed and truncated while the writer is idle.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);
/// How often free pages are looked for.
const VACUUM_INTERVAL: Duration = Duration::from_secs(60);
/// Between two steps that return free pages: a part of the disk's and the writer's time at most.
const VACUUM_PAUSE: Duration = Duration::from_millis(10);

#[async_trait]
impl ConsistencyCheck for SqliteStore {
    async fn check_consistency(&self, now: ServiceTime) -> Result<Vec<Finding>, StoreError> {
        const CONTEXT: &str = "check the database";
        let mut conn = self.reader(CONTEXT).await?;
        integrity_check::check(&mut conn, now, self.status.has_room())
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn check_server(&self, _now: ServiceTime) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    async fn repair_ledger(&self, act: Act, dry_run: bool) -> Result<LedgerRepair, StoreError> {
        self.queue.step(repair::RepairLedger { act, dry_run }).await
    }
}

#[async_trait]
impl Engine for SqliteStore {
    fn schema_version(&self) -> i64 {
        schema_version()
    }

    fn duties(self: Arc<Self>) -> Vec<EngineDuty> {
        let (checkpointed, vacuumed, rotated) = (Arc::clone(&self), Arc::clone(&self), self);
        vec![
            EngineDuty::new("tidy", Recurrence::Every(TIDY_INTERVAL), move |_now| {
                let store = Arc::clone(&checkpointed);
                async move { store.queue.checkpoint().await }
            }),
            EngineDuty::new("vacuum", Recurrence::Every(VACUUM_INTERVAL), move |_now| {
                let store = Arc::clone(&vacuumed);
                async move { store.return_free_pages().await }
            }),
            EngineDuty::new("deduplication", Recurrence::Cron("25 0 * * * *"), move |now| {
                let store = Arc::clone(&rotated);
                async move { store.rotate_deduplication(now).await }
            }),
        ]
    }

    fn inbox(self: Arc<Self>) -> Option<Arc<dyn Inbox>> {
        None
    }

    async fn last_moment(&self) -> Result<Option<Moment>, StoreError> {
        const CONTEXT: &str = "read the last moment";
        let mut conn = self.reader(CONTEXT).await?;
        service_time::last_moment(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn failed(&self) -> String {
        self.status.failed().await
    }

    async fn close(&self) {
        // Readers would keep the writer from truncating the WAL.
        self.readers.close().await;
        self.delivery_readers.close().await;
        self.queue.close().await;
        let ended = self.writer_ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!("the writer did not stop in order");
        }
    }
}

impl SqliteStore {
    /// Returns free pages to the file system, until few are left.
    async fn return_free_pages(&self) -> Result<(), StoreError> {
        let mut begins = true;
        while self.queue.step(vacuum::Vacuum { begins }).await? {
            begins = false;
            tokio::time::sleep(VACUUM_PAUSE).await;
        }
        Ok(())
    }

    /// Compacts the de-duplication log and drops tables past their age.
    async fn rotate_deduplication(&self, now: ServiceTime) -> Result<(), StoreError> {
        let mut until = self.queue.step(dedup::tables::Compact { now, until: None }).await?;
        while until.is_some() {
            until = self.queue.step(dedup::tables::Compact { now, until }).await?;
        }
        self.queue.step(dedup::tables::Rotate { now }).await
    }
}
