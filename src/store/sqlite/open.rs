//! Opening a database: the file is checked before anything in it is changed; then migrations, forward only;
//! then the connections: writer, checkpoint, readers.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::OpenFlags;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqlitePool};

use crate::domain::clock::Clock;
use crate::store::failure::SqlError;
use crate::store::scan_limits::ScanLimits;
use crate::store::transfer::MovedError;
use crate::telemetry::metrics::Metrics;

/// The writer's page cache: 8 MiB, in SQLite's negative KiB. A commit that moved pages scans the whole
/// cache's hash table, so a larger cache makes every commit slower.
const CACHE_SIZE: i64 = -8_192;
/// The checkpoint threshold: 64 MiB of WAL in pages of 8 KiB.
const WAL_PAGES: i64 = 8_192;
/// The WAL file is cut to 256 MiB by a WAL reset. That is above its usual size: to cut it and let it grow
/// again costs milliseconds.
const WAL_BYTES: i64 = 268_435_456;
/// How long a connection waits for another's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A row does not span pages if it fits into one: a page of 4 KiB takes three events of 1 KB and is a sixth
/// empty, one of 8 KiB takes seven.
const PAGE_SIZE: &str = "PRAGMA page_size = 8192";

/// The memtable's capacity. A compaction touches nearly every page of a table of millions of keys: the more
/// keys it writes, the fewer page writes per event. A hash map fills seven of eight buckets and then doubles;
/// the keys of the transaction that begins the compaction must fit too.
const MEMTABLE_KEYS: usize = (1 << 18) / 8 * 7 - 4_096;

/// Options of the store.
#[derive(Clone)]
pub struct OpenOptions {
    /// The database file; created when missing, its directory is not.
    pub path: PathBuf,
    /// Counts commits and sizes.
    pub metrics: Arc<Metrics>,
    /// The time at which a row was written.
    pub clock: Arc<dyn Clock>,
    /// Below this much free space [`crate::store::Capacity::has_room`] is false.
    pub min_free_disk_bytes: u64,
    /// How many rows one query of a list scans.
    pub scan_limits: ScanLimits,
    /// Connections of the read pool.
    pub readers: u32,
    /// Events in the writer's queue before backpressure refuses more.
    pub max_queued_events: usize,
    /// Bytes of events in the writer's queue before backpressure refuses more.
    pub max_queued_bytes: usize,
    /// De-duplication keys in the memtable before it is compacted into a table.
    pub memtable_keys: usize,
    /// The checkpoint threshold: WAL frames that are not checkpointed yet. A page that was written several
    /// times is checkpointed once.
    pub checkpoint_pages: i64,
    /// The database grows to at most so many pages of 8 KiB, as on a full disk.
    pub max_pages: Option<u32>,
}

impl OpenOptions {
    /// The defaults for the database at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.into(),
            metrics,
            clock,
            min_free_disk_bytes: 0,
            scan_limits: ScanLimits::default(),
            readers: 3,
            max_queued_events: 65_536,
            max_queued_bytes: 64 << 20,
            memtable_keys: MEMTABLE_KEYS,
            checkpoint_pages: WAL_PAGES,
            max_pages: None,
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpenOptions")
            .field("path", &self.path)
            .field("min_free_disk_bytes", &self.min_free_disk_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a database could not be opened; [`OpenError::hint`] says what to do. Nothing in the file was changed,
/// unless a migration began and was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory does not exist.
    #[error("the directory of the database {path} does not exist")]
    NoDirectory {
        /// The database.
        path: String,
    },
    /// The file, or the lock file beside it, cannot be read or written.
    #[error("{path} cannot be read and written")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path} is not a SQLite database")]
    NotADatabase {
        /// The file.
        path: String,
    },
    /// The file is a database of another program.
    #[error("{path} is a SQLite database, but not one of Postrider")]
    NotOurs {
        /// The file.
        path: String,
    },
    /// A later version of this program wrote the file.
    #[error(
        "the database {path} has schema version {file}, this program knows up to version {program}"
    )]
    Newer {
        /// The file.
        path: String,
        /// The file's schema version.
        file: i64,
        /// The newest this program knows.
        program: i64,
    },
    /// Another process has it open.
    #[error("the database {path} is in use by {holder}")]
    InUse {
        /// The file.
        path: String,
        /// Who.
        holder: String,
    },
    /// The SQLite library has a defect that can corrupt a database with several connections.
    #[error("the SQLite library has version {found}, at least 3.51.3 is needed")]
    Library {
        /// Its version.
        found: String,
    },
    /// A migration failed.
    #[error("the schema of the database {path} could not be brought up to date")]
    Migration {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// It was moved to another database, or another one into it.
    #[error(transparent)]
    Moved(#[from] MovedError),
    /// SQLite would not open or read it.
    #[error("the database {path} could not be opened")]
    Database {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    pub(super) fn database(path: &str, error: impl Into<SqlError>) -> Self {
        Self::Database { path: path.to_owned(), source: Box::new(error.into()) }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoDirectory { .. } => "make the directory, or set `database` to another path",
            Self::Unreadable { .. } => "check the owner and mode of the file and of its directory",
            Self::NotADatabase { .. } | Self::NotOurs { .. } => {
                "set `database` to a path that does not exist yet, or to a database of Postrider"
            }
            Self::Newer { .. } => "run the newer program that wrote it, or restore a backup",
            Self::InUse { .. } => {
                "stop the other process, or talk to it over its API; one process uses a database"
            }
            Self::Library { .. } => "build Postrider with its bundled SQLite",
            Self::Migration {
                source: MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_),
                ..
            } => {
                "a build with other migrations wrote the file, which is unchanged: \
                 run that build, or set `database` to another path"
            }
            Self::Migration { .. } => {
                "the file is unchanged; check the free disk space and the file with `postrider doctor`"
            }
            Self::Moved(_) => "one of the two databases may be served, never both",
            Self::Database { .. } => "check the file with `postrider doctor` or restore a backup",
        }
    }
}

/// SQLite's `application_id` of our databases: "Post".
const APPLICATION_ID: i32 = 0x506F_7374;

/// The first SQLite without the WAL-reset defect.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// A migration is frozen once released: every database has its checksum, comments included.
fn migrations() -> Vec<Migration> {
    let outbox = include_str!("../../../migrations/sqlite/0001_outbox.sql");
    let removed = include_str!("../../../migrations/sqlite/0002_removed.sql");
    let service_time = include_str!("../../../migrations/sqlite/0003_service_time.sql");
    let edges = include_str!("../../../migrations/sqlite/0004_pauses_statistics_limits.sql");
    let lookups = include_str!("../../../migrations/sqlite/0005_lookups.sql");
    let simple = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    vec![
        simple(1, "outbox", outbox),
        simple(2, "removed", removed),
        simple(3, "service time", service_time),
        simple(4, "pauses, statistics and limits", edges),
        simple(5, "lookups", lookups),
    ]
}

/// The newest schema version this program knows.
#[must_use]
pub fn schema_version() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Checks the directory, before the lock file is created in it.
pub(super) fn check_directory(path: &Path) -> Result<(), OpenError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if directory.is_some_and(|parent| !parent.is_dir()) {
        return Err(OpenError::NoDirectory { path: path.display().to_string() });
    }
    Ok(())
}

/// Checks the file without SQLite.
pub(super) fn check_file(path: &Path, file: &File) -> Result<(), OpenError> {
    let shown = || path.display().to_string();
    let unreadable = |source| OpenError::Unreadable { path: shown(), source };
    let mut head = Vec::new();
    file.take(16).read_to_end(&mut head).map_err(unreadable)?;
    if head.is_empty() || head == b"SQLite format 3\0" {
        Ok(())
    } else {
        Err(OpenError::NotADatabase { path: shown() })
    }
}

fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// The writer's connection.
pub(super) fn connect_writer(options: &OpenOptions) -> rusqlite::Result<rusqlite::Connection> {
    let sqlite = connect(&options.path)?;
    sqlite.pragma_update(None, "foreign_keys", true)?;
    sqlite.pragma_update(None, "synchronous", "FULL")?;
    sqlite.pragma_update(None, "mmap_size", 0)?;
    sqlite.pragma_update(None, "temp_store", "MEMORY")?;
    sqlite.pragma_update(None, "cache_size", CACHE_SIZE)?;
    sqlite.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    if let Some(pages) = options.max_pages {
        sqlite.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(sqlite)
}

/// A connection that checkpoints beside the writer.
pub(super) fn connect_checkpoint(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let sqlite = connect(path)?;
    sqlite.pragma_update(None, "synchronous", "FULL")?;
    Ok(sqlite)
}

/// A read-only connection beside the pool, for reads of a row or a few at high rates.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let sqlite = connect(path)?;
    sqlite.pragma_update(None, "mmap_size", 0)?;
    sqlite.pragma_update(None, "query_only", true)?;
    Ok(sqlite)
}

/// A connection that never checkpoints on its own.
fn connect(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = rusqlite::Connection::open_with_flags(path, flags)?;
    sqlite.busy_timeout(BUSY_TIMEOUT)?;
    sqlite.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(sqlite)
}

/// A read pool; its connections cannot write.
pub(super) fn readers(path: &Path, connections: u32) -> SqlitePool {
    let connect = base(path)
        .thread_name(|id| format!("sqlite-reader-{id}"))
        .pragma("wal_autocheckpoint", "0")
        .pragma("mmap_size", "0")
        .pragma("temp_store", "MEMORY")
        .pragma("query_only", "ON");
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(connect)
}

/// Checks library and file, then migrates the schema.
pub(super) async fn prepare(options: &OpenOptions) -> Result<(), OpenError> {
    let path = options.path.display().to_string();
    let failed = |source| not_a_database(&path, source);
    let mut conn = base(&options.path).connect().await.map_err(failed)?;
    check_library(&mut conn).await.map_err(failed)??;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut conn)
        .await
        .map_err(failed)?;
    if tables == 0 {
        // Before the first table, and before the journal mode, or they have no effect.
        run(&mut conn, PAGE_SIZE).await.map_err(failed)?;
        run(&mut conn, "PRAGMA auto_vacuum = INCREMENTAL").await.map_err(failed)?;
    } else {
        check_origin(&mut conn, &path).await?;
    }
    run(&mut conn, "PRAGMA journal_mode = WAL").await.map_err(failed)?;
    Migrator::with_migrations(migrations())
        .run_direct(None, &mut conn, false)
        .await
        .map_err(|source| OpenError::Migration { path: path.clone(), source })?;
    conn.close().await.map_err(failed)
}

async fn run(conn: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).fetch_all(conn).await.map(|_| ())
}

async fn check_library(conn: &mut SqliteConnection) -> Result<Result<(), OpenError>, sqlx::Error> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(conn).await?;
    if parse_version(&found).is_some_and(|version| version >= OLDEST_SQLITE) {
        Ok(Ok(()))
    } else {
        Ok(Err(OpenError::Library { found }))
    }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

/// SQLite reports only at its first read that a file is not a database.
fn not_a_database(path: &str, source: sqlx::Error) -> OpenError {
    const SQLITE_NOTADB: &str = "26";
    let is_foreign = source
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == SQLITE_NOTADB);
    if is_foreign {
        OpenError::NotADatabase { path: path.to_owned() }
    } else {
        OpenError::database(path, source)
    }
}

/// Refuses databases of other programs and of later versions of this one.
async fn check_origin(conn: &mut SqliteConnection, path: &str) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::database(path, error);
    let application: i32 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *conn).await.map_err(failed)?;
    if application != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let file: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
    let program = schema_version();
    if file > program {
        return Err(OpenError::Newer { path: path.to_owned(), file, program });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_version("3.51.3") >= Some(OLDEST_SQLITE));
        assert!(parse_version("3.100.0") >= Some(OLDEST_SQLITE));
        assert!(parse_version("3.51.2") < Some(OLDEST_SQLITE));
        assert_eq!(parse_version("three"), None);
    }
}
