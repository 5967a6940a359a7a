//! The database's place on disk: free space against its floor, the log's size, and when the log is
//! brought into the file. Only the writer does that, so that its commits alone decide when.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::open::OpenOptions;
use super::shared::Shared;
use crate::metrics::Metrics;

/// Pages in the log, but not yet in the file, at which it is brought there between commits: 64 MiB. A
/// page that was written often meanwhile is brought there once.
const LOG_PAGES: i64 = 8_192;
/// The same where the free space is below the floor, so that the log stays small.
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
    directory: PathBuf,
    log: PathBuf,
    floor: u64,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    looked_at: Instant,
    written: usize,
}

/// Frames of the log: all, and those that are in the file already.
struct Frames {
    all: i64,
    in_file: i64,
}

impl Disk {
    pub(super) fn new(options: &OpenOptions, shared: Arc<Shared>) -> Self {
        let mut log = options.path.as_os_str().to_owned();
        log.push("-wal");
        let directory = options
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), PathBuf::from);
        Self {
            directory,
            log: PathBuf::from(log),
            floor: options.min_free_disk_bytes,
            metrics: Arc::clone(&options.metrics),
            shared,
            looked_at: Instant::now(),
            written: 0,
        }
    }

    /// Looks at the free space and the log's size.
    pub(super) fn look(&mut self) {
        self.looked_at = Instant::now();
        let log = std::fs::metadata(&self.log).map_or(0, |found| found.len());
        self.metrics.wal_bytes.set(i64::try_from(log).unwrap_or(i64::MAX));
        match rustix::fs::statvfs(&self.directory) {
            Ok(found) => {
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                self.metrics.free_disk_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
                self.shared.set_room(free >= self.floor);
            }
            Err(error) => tracing::warn!(%error, "the free disk space cannot be told"),
        }
    }

    /// After a commit of about so many bytes: looks at the free space before much more is written,
    /// and brings the log into the file when it has grown.
    pub(super) async fn after_commit(
        &mut self,
        conn: &mut SqliteConnection,
        bytes: usize,
    ) -> Result<(), sqlx::Error> {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.look();
        }
        self.written = self.written.saturating_add(bytes);
        if self.written < MEASURE_EVERY_BYTES {
            return Ok(());
        }
        self.written = 0;
        self.look();
        let frames = checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)").await?;
        let pages = if self.shared.has_room() { LOG_PAGES } else { LOG_PAGES_WITHOUT_ROOM };
        if frames.all - frames.in_file >= pages {
            checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        Ok(())
    }

    /// With nothing else to do: gives free pages back and empties the log, unless a reader is in it.
    pub(super) async fn checkpoint_idle(
        &mut self,
        conn: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
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
        conn: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
        self.look();
        Ok(())
    }
}

async fn checkpoint(
    conn: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<Frames, sqlx::Error> {
    let row = sqlx::query(pragma).fetch_one(conn).await?;
    Ok(Frames { all: row.try_get(1)?, in_file: row.try_get(2)? })
}
