//! The database's place on disk: free space against its floor, the log's size, and when the log is
//! brought into the file. Its bulk is brought there beside the writer, which goes on meanwhile and then
//! does the little that has come since, so that the log begins anew.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use tokio::task::JoinHandle;

use super::direct::Direct;
use super::open::{self, OpenOptions};
use super::shared::Shared;

/// So many times the pages at which the log is brought into the file, and the writer does not wait for
/// what is done beside it.
const MOST_LOGS: i64 = 4;
/// Pages at which it is brought there where the free space is below the floor, so that it stays small.
const LOG_PAGES_WITHOUT_ROOM: i64 = 256;
/// About how many bytes are written between two looks at the log.
const MEASURE_EVERY_BYTES: usize = 1 << 20;
/// How often the free space is looked at while commits go on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Free pages given back to the file system at a time, when idle.
const VACUUM_WHEN_IDLE: &str = "PRAGMA incremental_vacuum(512)";

/// What the writer keeps about the disk.
#[derive(Debug)]
pub(super) struct Disk {
    options: OpenOptions,
    /// The database's, open as long as the store is: to close it would give up SQLite's locks on it.
    file: Arc<File>,
    directory: PathBuf,
    log: PathBuf,
    shared: Arc<Shared>,
    looked_at: Instant,
    /// Bytes since the last look at the log.
    written: usize,
    /// Bytes since the last time that there was little else to do.
    written_since_tidy: usize,
    /// Brings the log into the file beside the writer.
    beside: Option<JoinHandle<()>>,
}

/// Frames of the log: all, and those that are in the file already.
struct Frames {
    all: i64,
    in_file: i64,
}

impl Disk {
    pub(super) fn new(options: &OpenOptions, shared: Arc<Shared>) -> std::io::Result<Self> {
        let mut log = options.path.as_os_str().to_owned();
        log.push("-wal");
        let directory = options
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), PathBuf::from);
        Ok(Self {
            options: options.clone(),
            file: Arc::new(File::open(&options.path)?),
            directory,
            log: PathBuf::from(log),
            shared,
            looked_at: Instant::now(),
            written: 0,
            written_since_tidy: 0,
            beside: None,
        })
    }

    /// Looks at the free space and the log's size.
    pub(super) fn look(&mut self) {
        self.looked_at = Instant::now();
        let log = std::fs::metadata(&self.log).map_or(0, |found| found.len());
        self.options.metrics.wal_bytes.set(i64::try_from(log).unwrap_or(i64::MAX));
        match rustix::fs::statvfs(&self.directory) {
            Ok(found) => {
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                self.options.metrics.free_disk_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
                self.shared.set_room(free >= self.options.min_free_disk_bytes);
            }
            Err(error) => tracing::warn!(%error, "the free disk space cannot be told"),
        }
    }

    /// After a commit of about so many bytes: looks at the free space before much more is written,
    /// and brings the log into the file when it has grown.
    pub(super) async fn after_commit(
        &mut self,
        direct: &mut Direct,
        bytes: usize,
    ) -> Result<(), sqlx::Error> {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.look();
        }
        if self.beside.take_if(|beside| beside.is_finished()).is_some() {
            checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        self.written_since_tidy = self.written_since_tidy.saturating_add(bytes);
        self.written = self.written.saturating_add(bytes);
        if self.written < MEASURE_EVERY_BYTES {
            return Ok(());
        }
        self.written = 0;
        self.look();
        let frames = checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(NOOP)").await?;
        let waiting = frames.all - frames.in_file;
        if !self.shared.has_room() {
            if waiting >= LOG_PAGES_WITHOUT_ROOM {
                checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(PASSIVE)").await?;
            }
        } else if waiting >= self.options.log_pages * MOST_LOGS {
            checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(PASSIVE)").await?;
        } else if self.beside.is_some() {
            // What it leaves is done when it has ended.
        } else if waiting >= self.options.log_pages {
            let work = checkpoint_beside(self.options.clone(), Arc::clone(&self.file));
            self.beside = Some(tokio::spawn(work));
        } else if frames.in_file > 0 {
            // A reader in the log kept it from beginning anew: the little that has come since is brought
            // there again, rather than another whole log.
            checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        Ok(())
    }

    /// With little else to do: gives free pages back and empties the log, unless a reader is in it.
    pub(super) async fn checkpoint_idle(&mut self, direct: &mut Direct) -> Result<(), sqlx::Error> {
        let written = std::mem::take(&mut self.written_since_tidy);
        if written >= MEASURE_EVERY_BYTES || self.beside.is_some() {
            return Ok(());
        }
        let conn = direct.sqlx();
        sqlx::query(VACUUM_WHEN_IDLE).fetch_all(&mut *conn).await?;
        let frames = checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        if frames.in_file == frames.all {
            // A reader may begin just now: waiting for it would hold up every commit.
            sqlx::query("PRAGMA busy_timeout = 20").fetch_all(&mut *conn).await?;
            let emptied = checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)").await;
            sqlx::query("PRAGMA busy_timeout = 5000").fetch_all(&mut *conn).await?;
            emptied?;
        }
        self.look();
        Ok(())
    }

    /// At the end: the file alone holds everything.
    pub(super) async fn checkpoint_whole(
        &mut self,
        direct: &mut Direct,
    ) -> Result<(), sqlx::Error> {
        if let Some(beside) = self.beside.take() {
            // It panicked or the runtime ends: what it left is done here.
            let _ = beside.await;
        }
        checkpoint(direct.sqlx(), "PRAGMA wal_checkpoint(TRUNCATE)").await?;
        self.look();
        Ok(())
    }
}

/// Brings what is in the log now into the file, and the file to the disk, so that little is left for
/// the writer. What fails here fails again there, where it is acted on.
async fn checkpoint_beside(options: OpenOptions, file: Arc<File>) {
    let brought = async {
        let mut conn = open::connect_beside(&options).await?;
        checkpoint(&mut conn, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        conn.close().await
    };
    if let Err(error) = brought.await {
        tracing::warn!(%error, "the log was not brought into the database beside the writer");
        return;
    }
    let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
    if let Ok(Err(error)) = synced {
        tracing::warn!(%error, "the database was not brought to the disk beside the writer");
    }
}

async fn checkpoint(
    conn: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<Frames, sqlx::Error> {
    let row = sqlx::query(pragma).fetch_one(conn).await?;
    Ok(Frames { all: row.try_get(1)?, in_file: row.try_get(2)? })
}
