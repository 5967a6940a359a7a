//! The store on SQLite: one writer thread with group commit on its own connection, and a pool of read-only
//! connections for queries. The SQL of each noun is in the file of its name.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use tokio::sync::oneshot;

use super::{
    Accepted, AttemptQuery, AttemptRow, Claim, ClaimRequest, ConnectionChange, DeadLetterGroup,
    DeliveryQuery, DeliveryRow, EventQuery, ExpiredLease, ExpiryScope, Finding, JobPreview,
    JobQuery, JobStep, LeaseRef, LeasedDelivery, Ledger, Level, Listed, ListedEvents, NewEvent,
    Pipeline, PipelineChange, PruneRequest, Pruned, Record, Recorded, Routing, StatisticsQuery,
    StatisticsRow, Store, StoreError, TestSend, TestSendRow,
};
use crate::domain::attempt::Attempt;
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::event::StoredEvent;
use crate::domain::id::{DeliveryId, EventId, JobId, MappingId, NodeId};
use crate::domain::job::{Job, JobAction, JobFilter, NewJob};
use crate::domain::mapping::MappingRevision;

mod accept;
mod alert;
mod attempt_list;
mod audit;
mod auth;
mod claim;
mod conditions;
mod credential;
mod dead_letters;
mod dedup;
mod error;
mod event_reader;
mod idempotency;
mod integrity_check;
mod job;
mod job_selection;
mod keyset;
mod lease;
mod list;
mod lock;
mod node;
mod open;
mod pipeline;
mod pipeline_audit;
mod pipeline_change;
mod prune;
#[cfg(test)]
mod query_plan_tests;
mod record;
mod row;
mod scan;
mod siblings;
mod statistics;
mod test_send;
mod token;
mod writer;

pub use keyset::ScanLimits;
pub use open::{OpenError, OpenOptions, schema_version};

use accept::Arrival;
use error::to_store;
use event_reader::EventReader;
use writer::queue::Queue;
use writer::status::WriterStatus;

/// The store on a SQLite file. Dropping it without [`Store::close`] loses nothing that was
/// answered; what is queued is still committed.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Queue,
    readers: SqlitePool,
    event_reader: EventReader,
    status: Arc<WriterStatus>,
    writer_ended: Mutex<Option<oneshot::Receiver<()>>>,
    scan_limits: ScanLimits,
}

impl SqliteStore {
    /// Opens the database, making it when it is missing and bringing its schema up to date. Takes
    /// the lock file beside it until the store is closed.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file; nothing in it was changed then.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        open::check_directory(&options.path)?;
        let lock = lock::FileLock::take(&options.path)?;
        open::check_file(&options.path)?;
        open::prepare(&options).await?;
        let readers = open::readers(&options);
        let event_reader = EventReader::new(&options);
        let scan_limits = options.scan_limits;
        let status = Arc::new(WriterStatus::new());
        let (queue, commands) = Queue::new(options.max_queued_events, options.max_queued_bytes);
        let path = options.path.display().to_string();
        let writer_ended = writer::start(options, Arc::clone(&status), commands, lock).await;
        let writer_ended = writer_ended.map_err(|error| OpenError::database(&path, error))?;
        let writer_ended = Mutex::new(Some(writer_ended));
        Ok(Self { queue, readers, event_reader, status, writer_ended, scan_limits })
    }

    /// Returns, with the cause, once the database has failed in a way after which only a restart
    /// can tell what is on disk: the process must end. Never returns otherwise.
    pub async fn failed(&self) -> String {
        self.status.failed().await
    }

    async fn reader(
        &self,
        context: &'static str,
    ) -> Result<PoolConnection<sqlx::Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(|error| to_store(context, error))
    }

    /// Gives each claimed delivery its event, one copy for all deliveries of an event.
    async fn with_events(
        &self,
        claimed: &[claim::Claimed],
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        const CONTEXT: &str = "read the events of claimed deliveries";
        let ids = claimed.iter().map(|delivery| delivery.event_id).collect();
        let events =
            self.event_reader.events(ids).await.map_err(|error| to_store(CONTEXT, error))?;
        claimed
            .iter()
            .map(|delivery| {
                let event = events.get(&delivery.event_id).ok_or_else(|| StoreError::Foreign {
                    what: format!("a delivery, {}, without its event", delivery.id.0),
                })?;
                Ok(delivery.with_event(Arc::clone(event)))
            })
            .collect()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if !self.has_room() {
            return Err(StoreError::Full);
        }
        self.queue.accept(events.into_iter().map(Arrival::new).collect()).await
    }

    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        let now = request.now;
        let leased = self.queue.claim(request).await?;
        match self.with_events(&leased.deliveries).await {
            Ok(deliveries) => {
                Ok(Claim { deliveries, next_due: leased.next_due, overdue: leased.overdue })
            }
            Err(error) => {
                // Nobody will try them: better given back now than expired later.
                let leases = leased.deliveries.iter().map(claim::Claimed::lease).collect();
                let _ = self.release(leases, now).await;
                Err(error)
            }
        }
    }

    async fn record(&self, records: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.queue.record(records).await
    }

    async fn release(&self, leases: Vec<LeaseRef>, due_at: Timestamp) -> Result<u64, StoreError> {
        self.queue.step(lease::Release { leases, due_at }).await
    }

    async fn expired_leases(
        &self,
        scope: ExpiryScope,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        const CONTEXT: &str = "look for expired leases";
        let mut conn = self.reader(CONTEXT).await?;
        lease::expired(&mut conn, scope, limit).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn settle_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError> {
        const CONTEXT: &str = "look for overdue deliveries";
        let mut found = Vec::new();
        {
            let mut conn = self.reader(CONTEXT).await?;
            for want in &request.wants {
                let mut overdue = claim::find_overdue(&mut conn, want, request.now)
                    .await
                    .map_err(|error| to_store(CONTEXT, error))?;
                found.append(&mut overdue);
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        self.queue.step(claim::Bury { found, now: request.now }).await
    }

    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, Timestamp)>, StoreError> {
        const CONTEXT: &str = "look for what is due next";
        let mut conn = self.reader(CONTEXT).await?;
        claim::next_due(&mut conn, mappings).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn shift_schedule(&self, micros: i64) -> Result<(), StoreError> {
        self.queue.step(lease::Shift { micros }).await
    }

    async fn discard_removed(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.queue.step(job::DiscardRemoved { now, limit }).await
    }

    async fn preview_job(
        &self,
        action: JobAction,
        filter: JobFilter,
        sample: u32,
    ) -> Result<JobPreview, StoreError> {
        const CONTEXT: &str = "preview a job";
        let mut conn = self.reader(CONTEXT).await?;
        job::preview(&mut conn, action, &filter, sample)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn create_job(&self, job: NewJob, act: Act) -> Result<Job, StoreError> {
        let counted = self.preview_job(job.action, job.filter.clone(), 0).await?;
        self.queue.step(job::Create { job, counted, act }).await
    }

    async fn step_job(
        &self,
        id: JobId,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<JobStep>, StoreError> {
        const CONTEXT: &str = "select the deliveries of a job";
        let selected = {
            let mut conn = self.reader(CONTEXT).await?;
            job::select(&mut conn, id, limit).await.map_err(|error| to_store(CONTEXT, error))?
        };
        match selected {
            Some(selected) => self.queue.step(job::Advance { selected, now }).await,
            None => Ok(None),
        }
    }

    async fn cancel_job(&self, id: JobId, act: Act) -> Result<Option<Job>, StoreError> {
        self.queue.step(job::Cancel { id, act }).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        const CONTEXT: &str = "read a job";
        let mut conn = self.reader(CONTEXT).await?;
        let found = job::read(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))?;
        Ok(found.map(|stored| stored.job))
    }

    async fn jobs(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        const CONTEXT: &str = "list jobs";
        let mut conn = self.reader(CONTEXT).await?;
        job::list(&mut conn, &query).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn pipeline(&self) -> Result<Pipeline, StoreError> {
        const CONTEXT: &str = "read the pipeline";
        let mut conn = self.reader(CONTEXT).await?;
        pipeline::read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn change_pipeline(
        &self,
        expected_version: i64,
        changes: Vec<PipelineChange>,
        act: Act,
    ) -> Result<i64, StoreError> {
        self.queue.step(pipeline_change::ChangePipeline { expected_version, changes, act }).await
    }

    async fn put_connection(&self, change: ConnectionChange, act: Act) -> Result<i64, StoreError> {
        self.queue.step(credential::PutConnection { change, act }).await
    }

    async fn record_test(&self, test: TestSend, act: Act) -> Result<(), StoreError> {
        self.queue.step(test_send::RecordTest { test, act }).await
    }

    async fn revisions(
        &self,
        mapping_id: MappingId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<MappingRevision>, StoreError> {
        const CONTEXT: &str = "list revisions";
        let mut conn = self.reader(CONTEXT).await?;
        let found = pipeline::revisions(&mut conn, mapping_id, before, limit).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }

    async fn test_sends(&self, mapping_id: MappingId) -> Result<Vec<TestSendRow>, StoreError> {
        const CONTEXT: &str = "list test sends";
        let mut conn = self.reader(CONTEXT).await?;
        test_send::test_sends(&mut conn, mapping_id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        const CONTEXT: &str = "read an event";
        let mut conn = self.reader(CONTEXT).await?;
        list::event(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn routing(&self, id: EventId) -> Result<Routing, StoreError> {
        const CONTEXT: &str = "read an event's routing";
        let mut conn = self.reader(CONTEXT).await?;
        pipeline::routing(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn events(&self, query: EventQuery) -> Result<ListedEvents, StoreError> {
        const CONTEXT: &str = "list events";
        let mut conn = self.reader(CONTEXT).await?;
        list::events(&mut conn, &query, self.scan_limits)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, StoreError> {
        const CONTEXT: &str = "read a delivery";
        let mut conn = self.reader(CONTEXT).await?;
        list::delivery(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Listed<DeliveryRow>, StoreError> {
        const CONTEXT: &str = "list deliveries";
        let mut conn = self.reader(CONTEXT).await?;
        list::deliveries(&mut conn, &query, self.scan_limits)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, StoreError> {
        const CONTEXT: &str = "group dead letters";
        let mut conn = self.reader(CONTEXT).await?;
        dead_letters::groups(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn statistics(&self, query: StatisticsQuery) -> Result<Vec<StatisticsRow>, StoreError> {
        const CONTEXT: &str = "read statistics";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::statistics(&mut conn, &query, statistics::By::Time)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn statistics_by_mapping(
        &self,
        query: StatisticsQuery,
    ) -> Result<Vec<StatisticsRow>, StoreError> {
        const CONTEXT: &str = "read statistics by mapping";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::statistics(&mut conn, &query, statistics::By::Mapping)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn list_attempts(&self, query: AttemptQuery) -> Result<Listed<AttemptRow>, StoreError> {
        const CONTEXT: &str = "list attempts";
        let mut conn = self.reader(CONTEXT).await?;
        let found = attempt_list::list(&mut conn, &query, self.scan_limits).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }

    async fn attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        const CONTEXT: &str = "list attempts";
        let mut conn = self.reader(CONTEXT).await?;
        list::attempts(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    fn ledger(&self) -> Ledger {
        self.status.ledger()
    }

    fn has_room(&self) -> bool {
        self.status.has_room()
    }

    async fn register_node(&self, name: &str, now: Timestamp) -> Result<NodeId, StoreError> {
        self.queue.step(node::RegisterNode { name: name.to_owned(), now }).await
    }

    async fn heartbeat(&self, node_id: NodeId, now: Timestamp) -> Result<(), StoreError> {
        self.queue.step(node::Heartbeat { node_id, now }).await
    }

    async fn last_seen_at(&self) -> Result<Option<Timestamp>, StoreError> {
        const CONTEXT: &str = "read the newest heartbeat";
        let mut conn = self.reader(CONTEXT).await?;
        node::last_seen_at(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn prune(&self, request: PruneRequest) -> Result<Pruned, StoreError> {
        self.queue.step(prune::Prune(request)).await
    }

    async fn rotate_deduplication(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut until = self.queue.step(dedup::tables::Compact { now, until: None }).await?;
        while until.is_some() {
            until = self.queue.step(dedup::tables::Compact { now, until }).await?;
        }
        self.queue.step(dedup::tables::Rotate { now }).await
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        self.queue.checkpoint().await
    }

    async fn add_statistics(&self, rows: Vec<StatisticsRow>) -> Result<(), StoreError> {
        self.queue.step(statistics::AddStatistics(rows)).await
    }

    async fn note_level(&self, now: Timestamp) -> Result<(), StoreError> {
        self.queue.step(statistics::NoteLevel { now }).await
    }

    async fn levels(
        &self,
        span: std::ops::Range<Timestamp>,
        step: Duration,
    ) -> Result<Vec<Level>, StoreError> {
        const CONTEXT: &str = "read levels";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::levels(&mut conn, span, step).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn examine(&self, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
        const CONTEXT: &str = "check the database";
        let mut conn = self.reader(CONTEXT).await?;
        integrity_check::check(&mut conn, now, self.status.has_room())
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn close(&self) {
        // Readers would keep the writer from truncating the WAL.
        self.readers.close().await;
        self.event_reader.close().await;
        self.queue.close().await;
        let ended = self.writer_ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!("the writer did not stop in order");
        }
    }
}
