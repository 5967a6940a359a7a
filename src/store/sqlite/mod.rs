//! The store on SQLite: one writer thread with group commit on its own connection, and a pool of read-only
//! connections for queries. The SQL of each noun is in the file of its name; `traits` maps the store's
//! traits to it.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use tokio::sync::oneshot;

use super::StoreError;
use crate::domain::id::NodeId;

mod accept;
mod alert;
mod attempt_list;
mod audit;
mod backfill;
mod backfilled;
mod claim;
mod credential;
mod dead_letters;
mod dedup;
mod error;
mod file_identity;
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
mod pause;
mod pipeline;
mod pipeline_audit;
mod pipeline_change;
mod pipeline_rename;
mod pipeline_staged;
mod prune;
#[cfg(test)]
mod query_plan_tests;
mod record;
mod removed;
mod repair;
mod reserve;
mod scan;
mod service_time;
mod siblings;
mod source_usage;
mod statement;
mod statistics;
mod statistics_log;
mod test_send;
mod token;
mod traits;
mod transfer;
mod transfer_rows;
mod vacuum;
mod writer;

pub use crate::store::scan_limits::ScanLimits;
pub use open::{OpenError, OpenOptions, schema_version};
pub(in crate::store) use transfer::SqliteSide;

use error::to_store;
use writer::queue::Queue;
use writer::status::{Held, WriterStatus};

/// Readers for deliveries: one claims while the other looks for due times or expired leases.
const DELIVERY_READERS: u32 = 2;

/// The store on a SQLite file, for one process. Dropping it without [`super::Engine::close`] loses
/// nothing: what is queued is still committed.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Queue,
    readers: SqlitePool,
    /// Readers of their own for deliveries: they never wait for a list.
    delivery_readers: SqlitePool,
    status: Arc<WriterStatus>,
    writer_ended: Mutex<Option<oneshot::Receiver<()>>>,
    scan_limits: ScanLimits,
    /// Admits readers of the pipeline and its changes.
    pipeline_gate: pipeline_staged::Gate,
    /// The node of this process, while leases of the processes before it may remain.
    predecessors: Mutex<Option<NodeId>>,
}

impl SqliteStore {
    /// Opens the database, creates it when it is missing and migrates its schema. Holds its lock
    /// until the store is closed.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file; nothing in it was changed then.
    pub async fn open(mut options: OpenOptions) -> Result<Self, OpenError> {
        open::check_directory(&options.path)?;
        let lock = lock::DatabaseLock::take(&options.path)?;
        options.path = lock.path().to_owned();
        open::check_file(&options.path, lock.database())?;
        reserve::release_if_full(lock.database(), &options.path);
        open::prepare(&options).await?;
        transfer::check_moves(&options)?;
        let readers = open::readers(&options.path, options.readers.max(1));
        let delivery_readers = open::readers(&options.path, DELIVERY_READERS);
        let scan_limits = options.scan_limits;
        let status = Arc::new(WriterStatus::new());
        let (queue, commands) = Queue::new(options.max_queued_events, options.max_queued_bytes);
        let path = options.path.display().to_string();
        let writer_ended = writer::start(options, Arc::clone(&status), commands, lock).await;
        let writer_ended = writer_ended.map_err(|error| OpenError::database(&path, error))?;
        let writer_ended = Mutex::new(Some(writer_ended));
        let predecessors = Mutex::new(None);
        Ok(Self {
            queue,
            readers,
            delivery_readers,
            status,
            writer_ended,
            scan_limits,
            pipeline_gate: pipeline_staged::Gate::default(),
            predecessors,
        })
    }

    async fn reader(
        &self,
        context: &'static str,
    ) -> Result<PoolConnection<sqlx::Sqlite>, StoreError> {
        let reader = self.readers.acquire().await.map_err(|error| to_store(context, error))?;
        // Last, so that what has waited for a connection waits here too; an idle one has no snapshot.
        self.status.admit(Held::Lists).await;
        Ok(reader)
    }

    async fn delivery_reader(
        &self,
        context: &'static str,
    ) -> Result<PoolConnection<sqlx::Sqlite>, StoreError> {
        let reader =
            self.delivery_readers.acquire().await.map_err(|error| to_store(context, error))?;
        self.status.admit(Held::All).await;
        Ok(reader)
    }

    /// The lock admits one process: with this node registered, every other node has ended.
    fn succeeds_others(&self, node_id: NodeId) {
        *self.predecessors.lock().unwrap_or_else(PoisonError::into_inner) = Some(node_id);
    }

    /// The node of this process, until the leases of all others are recorded.
    fn predecessors_of(&self) -> Option<NodeId> {
        *self.predecessors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn predecessors_expired(&self) {
        *self.predecessors.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
