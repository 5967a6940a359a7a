//! The store on SQLite: one writer thread with group commit, and a small pool of read-only
//! connections. Each noun's SQL is in the file of its name; `traits` maps the store's traits to it.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::SqlitePool;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::StoreError;
use crate::domain::id::NodeId;

mod accept;
mod alert;
mod audit;
mod change;
mod claim;
mod credential;
mod dead_letters;
mod dedup;
mod direct;
mod disk;
mod examine;
mod failure;
mod fetch;
mod filter;
mod group;
mod job;
mod lease;
mod list;
mod list_attempts;
#[cfg(test)]
mod list_tests;
mod lock;
mod memory;
mod message;
mod open;
mod pace;
mod pipeline;
mod prune;
mod queue;
mod recent;
mod record;
mod repeat;
mod row;
mod selection;
mod shared;
mod siblings;
mod snapshot;
mod statistics;
mod test_send;
mod token;
mod traits;
mod upkeep;
mod walk;
mod writer;

pub use open::{OpenError, OpenOptions, schema_version};
pub use walk::Look;

use failure::{Failure, to_store};
use fetch::Fetch;
use queue::Queue;
use shared::Shared;

/// The store on a SQLite file, for one process. Dropping it without [`super::Engine::close`] loses
/// nothing: what is queued is still committed.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Queue,
    readers: SqlitePool,
    fetch: Fetch,
    shared: Arc<Shared>,
    writer_ended: Mutex<Option<oneshot::Receiver<()>>>,
    look: Look,
    /// The node of this process, while leases of the processes before it may remain.
    predecessors: Mutex<Option<NodeId>>,
}

impl SqliteStore {
    /// Opens the database, creates it when it is missing and migrates its schema. Holds the lock file
    /// beside it until the store is closed.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the file; nothing in it was changed then.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        open::check_directory(&options.path)?;
        let lock = lock::FileLock::take(&options.path)?;
        open::check_file(&options.path)?;
        open::prepare(&options).await?;
        let readers = open::readers(&options);
        let fetch = Fetch::new(&options);
        let look = options.look;
        let shared = Arc::new(Shared::new());
        let (queue, asked) = Queue::new(options.max_queued_events, options.max_queued_bytes);
        let path = options.path.display().to_string();
        let failed = |source| OpenError::Database { path, source };
        let writer_ended =
            match writer::Writer::open(options, Arc::clone(&shared), asked, lock).await {
                Ok(writer) => writer.start(Handle::current()).map_err(sqlx::Error::Io),
                Err(error) => Err(error),
            };
        let writer_ended = Mutex::new(Some(writer_ended.map_err(failed)?));
        Ok(Self {
            queue,
            readers,
            fetch,
            shared,
            writer_ended,
            look,
            predecessors: Mutex::new(None),
        })
    }

    async fn reader(
        &self,
        context: &'static str,
    ) -> Result<PoolConnection<sqlx::Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(|error| to_store(context, Failure::Sql(error)))
    }

    /// The lock file admits one process: with this node registered, every other node has ended.
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
