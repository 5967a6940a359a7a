//! Checkpoints and disk space. The bulk of a checkpoint runs on a thread and connection of its own beside the
//! writer, which then checkpoints the few frames written meanwhile, so that the WAL is reset. Free space is
//! compared with its floor.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::lock::DatabaseLock;
use super::super::open::{self, OpenOptions};
use super::super::reserve;
use super::connection::Connection;
use super::status::WriterStatus;
use super::wal_reset::WalReset;
use crate::store::failure::SqlError;

/// At so many times the checkpoint threshold the writer checkpoints itself, without waiting for the one
/// beside it.
const MAX_WAL_FACTOR: i64 = 4;
/// The checkpoint threshold in pages while free space is below the floor, so that the WAL stays small.
const WAL_PAGES_WITHOUT_ROOM: i64 = 256;
/// About how many bytes are written between two measurements of the WAL.
const MEASURE_EVERY_BYTES: usize = 1 << 20;
/// How often free space is measured while commits go on.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long an idle TRUNCATE checkpoint waits for readers: every commit waits behind it.
const TRUNCATE_TIMEOUT: Duration = Duration::from_millis(20);

const NOOP: &str = "PRAGMA wal_checkpoint(NOOP)";
const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Decides when and how the WAL is checkpointed.
#[derive(Debug)]
pub(super) struct Checkpointer {
    options: OpenOptions,
    /// The database file, for fsync and its reserve.
    file: Arc<File>,
    directory: PathBuf,
    wal: PathBuf,
    status: Arc<WriterStatus>,
    measured_at: Instant,
    /// Bytes since the WAL was last measured.
    unmeasured: usize,
    /// Bytes since the last idle checkpoint.
    since_idle: usize,
    reset: WalReset,
    /// The checkpoint that runs beside the writer.
    background: Option<JoinHandle<()>>,
}

/// Frames of the WAL.
struct Frames {
    all: i64,
    checkpointed: i64,
}

impl Checkpointer {
    pub(super) fn new(
        options: &OpenOptions,
        status: Arc<WriterStatus>,
        lock: &DatabaseLock,
    ) -> Self {
        let mut wal = options.path.as_os_str().to_owned();
        wal.push("-wal");
        let directory = options
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), PathBuf::from);
        Self {
            options: options.clone(),
            file: Arc::clone(lock.database()),
            directory,
            wal: PathBuf::from(wal),
            reset: WalReset::new(Arc::clone(&status)),
            status,
            measured_at: Instant::now(),
            unmeasured: 0,
            since_idle: 0,
            background: None,
        }
    }

    /// After a crash: checkpoints what it left in the WAL, so that the WAL is written from its beginning and needs
    /// no more space. Where that fails, the WAL grows instead.
    pub(super) fn checkpoint_recovered(&mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        self.measure(sqlite);
        let frames = checkpoint(sqlite, NOOP)?;
        if frames.all > frames.checkpointed
            && let Err(error) = checkpoint(sqlite, PASSIVE)
        {
            tracing::warn!(%error, "the WAL was not checkpointed at start");
        }
        Ok(())
    }

    /// Reserves disk space for the database; whether there was room.
    fn reserve(&mut self, sqlite: &Connection) -> bool {
        const BYTES: &str =
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let bytes: i64 = match sqlite.one::<_, rusqlite::Error>(BYTES, &[], |row| row.get(0)) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "the database's size cannot be read");
                return true;
            }
        };
        reserve::extend(&self.file, u64::try_from(bytes).unwrap_or(0))
    }

    /// Measures free space and the WAL's size.
    pub(super) fn measure(&mut self, sqlite: &Connection) {
        self.measured_at = Instant::now();
        let is_reserved = self.reserve(sqlite);
        let wal = std::fs::metadata(&self.wal).map_or(0, |found| found.len());
        self.options.metrics.wal_bytes.set(i64::try_from(wal).unwrap_or(i64::MAX));
        match rustix::fs::statvfs(&self.directory) {
            Ok(found) => {
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                self.options.metrics.free_disk_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
                let has_room = free >= self.options.min_free_disk_bytes;
                self.status.set_room(has_room && is_reserved);
            }
            Err(error) => tracing::warn!(%error, "the free disk space cannot be measured"),
        }
    }

    /// After a commit of about so many bytes: measures free space before much more is written, and
    /// checkpoints when the WAL has grown.
    pub(super) fn after_commit(
        &mut self,
        sqlite: &Connection,
        bytes: usize,
    ) -> rusqlite::Result<()> {
        if self.measured_at.elapsed() >= MEASURE_EVERY {
            self.measure(sqlite);
        }
        if self.background.take_if(|it| it.is_finished()).is_some() {
            checkpoint(sqlite, PASSIVE)?;
        }
        if self.background.is_none() {
            self.reset.attempt(sqlite)?;
        }
        self.since_idle = self.since_idle.saturating_add(bytes);
        self.unmeasured = self.unmeasured.saturating_add(bytes);
        if self.unmeasured < MEASURE_EVERY_BYTES {
            return Ok(());
        }
        self.unmeasured = 0;
        self.measure(sqlite);
        let frames = checkpoint(sqlite, NOOP)?;
        let waiting = frames.all - frames.checkpointed;
        let is_largest = frames.all >= self.options.checkpoint_pages * MAX_WAL_FACTOR;
        if is_largest && self.background.is_none() {
            self.reset.begin();
        }
        if !self.status.has_room() {
            if waiting >= WAL_PAGES_WITHOUT_ROOM {
                checkpoint(sqlite, PASSIVE)?;
            }
        } else if waiting >= self.options.checkpoint_pages * MAX_WAL_FACTOR {
            checkpoint(sqlite, PASSIVE)?;
        } else if self.background.is_some() {
            // The frames it leaves are checkpointed when it has ended.
        } else if waiting >= self.options.checkpoint_pages {
            self.background = checkpoint_beside(self.options.clone(), Arc::clone(&self.file));
        } else if frames.checkpointed > 0 {
            // A reader's snapshot kept the WAL from being reset: the few new frames are checkpointed again,
            // before there is another whole WAL of them.
            checkpoint(sqlite, PASSIVE)?;
        }
        Ok(())
    }

    /// When idle: truncates the WAL, unless a reader uses it.
    pub(super) fn checkpoint_idle(&mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        let written = std::mem::take(&mut self.since_idle);
        if written >= MEASURE_EVERY_BYTES || self.background.is_some() {
            return Ok(());
        }
        let frames = checkpoint(sqlite, PASSIVE)?;
        if frames.checkpointed == frames.all {
            sqlite.set_busy_timeout(TRUNCATE_TIMEOUT)?;
            let truncated = checkpoint(sqlite, TRUNCATE);
            sqlite.set_busy_timeout(open::BUSY_TIMEOUT)?;
            truncated?;
        }
        self.measure(sqlite);
        Ok(())
    }

    /// At shutdown: checkpoints everything, so that the database file alone is complete.
    pub(super) fn checkpoint_all(&mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        if let Some(background) = self.background.take() {
            // Where it panicked, its frames are checkpointed here.
            let _ = background.join();
        }
        checkpoint(sqlite, TRUNCATE)?;
        self.measure(sqlite);
        Ok(())
    }
}

/// Starts a checkpoint on a thread of its own. It only takes load off the writer: the writer's checkpoint
/// that follows does what it left, and acts on its errors.
fn checkpoint_beside(options: OpenOptions, file: Arc<File>) -> Option<JoinHandle<()>> {
    let work = move || {
        if let Err(error) = checkpoint_bulk(&options) {
            tracing::warn!(%error, "the checkpoint beside the writer failed");
            return;
        }
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, "the fsync of the checkpoint beside the writer failed");
        }
    };
    let started = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work);
    started.inspect_err(|error| tracing::warn!(%error, "no thread for a checkpoint")).ok()
}

fn checkpoint_bulk(options: &OpenOptions) -> Result<(), SqlError> {
    let sqlite = open::connect_checkpoint(&options.path)?;
    sqlite.query_row(PASSIVE, [], |_| Ok(()))?;
    sqlite.close().map_err(|(_connection, error)| error)?;
    Ok(())
}

fn checkpoint(sqlite: &Connection, pragma: &'static str) -> rusqlite::Result<Frames> {
    sqlite.one(pragma, &[], |row| Ok(Frames { all: row.get(1)?, checkpointed: row.get(2)? }))
}
