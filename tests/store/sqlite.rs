//! SQLite's file: what is refused at opening, the lock file, permissions. Also the factory of stores
//! on SQLite.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use postrider::domain::clock::ManualClock;
use postrider::store::sqlite::{OpenError, OpenOptions, ScanLimits, SqliteStore, schema_version};
use postrider::store::{Engine as _, Maintenance as _, Store};
use postrider::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{START, StoreFactory};

/// Stores on SQLite, each factory in a directory of its own.
pub(crate) struct SqliteFactory {
    directory: tempfile::TempDir,
    options: fn(OpenOptions) -> OpenOptions,
}

impl SqliteFactory {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    /// With changed options.
    pub(super) fn with(options: fn(OpenOptions) -> OpenOptions) -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), options }
    }

    /// The database file.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("postrider.db")
    }

    /// With a low bound on the rows that a query scans.
    pub(super) fn with_short_scans() -> Self {
        Self::with(|it| OpenOptions { scan_limits: ScanLimits { deliveries: 10, events: 4 }, ..it })
    }
}

/// Few enough that a test compacts them several times.
const MEMTABLE_KEYS: usize = 16_384;

pub(super) fn options(path: &Path, clock: Arc<ManualClock>) -> OpenOptions {
    OpenOptions::new(path, Arc::new(Metrics::new()), clock)
}

#[async_trait]
impl StoreFactory for SqliteFactory {
    async fn open(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let options = OpenOptions { memtable_keys: MEMTABLE_KEYS, ..options(&self.path(), clock) };
        Arc::new(SqliteStore::open((self.options)(options)).await.expect("a store"))
    }
}

pub(super) async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(options(path, Arc::new(ManualClock::new(START)))).await
}

/// Changes the file behind the store's back.
pub(crate) async fn execute(path: &Path, sql: &str) -> Result<(), sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut conn = SqliteConnection::connect_with(&options).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
    conn.close().await?;
    done.map(|_| ())
}

async fn new_database(path: &Path) {
    open(path).await.expect("a store").close().await;
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = open(&directory.path().join("no/such.db")).await.expect_err("refused");
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error}");
    assert!(!error.hint().is_empty());
}

#[tokio::test]
async fn another_file_is_not_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notes.txt");
    for text in ["short", "a text that is longer than the head of a database file"] {
        std::fs::write(&path, text).expect("written");
        let error = open(&path).await.expect_err("refused");
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    }
}

#[tokio::test]
async fn a_damaged_file_header_is_not_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.extend([0xFF; 5_000]);
    std::fs::write(&path, &bytes).expect("written");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
}

#[tokio::test]
async fn a_database_of_another_program_is_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("theirs.db");
    std::fs::write(&path, []).expect("written");
    execute(&path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)").await.expect("made");
    let before = std::fs::read(&path).expect("read");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    new_database(&path).await;
    let newer = schema_version() + 7;
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({newer}, 'later', 1, x'00', 0)"
    );
    execute(&path, &sql).await.expect("changed");
    let before = std::fs::read(&path).expect("read");
    let error = open(&path).await.expect_err("refused");
    let OpenError::Newer { file, program, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*file, *program), (newer, schema_version()));
    assert_eq!(std::fs::read(&path).expect("read"), before);
    // The lock is free again.
    assert!(matches!(open(&path).await, Err(OpenError::Newer { .. })));
}

#[tokio::test]
async fn a_database_of_a_build_with_another_migration_is_refused_and_the_hint_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    new_database(&path).await;
    let other = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1";
    execute(&path, other).await.expect("changed");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    assert!(error.hint().contains("a build with other migrations"), "{}", error.hint());
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let first = open(&path).await.expect("a store");
    let error = open(&path).await.expect_err("refused");
    let OpenError::InUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*holder, format!("process {}", std::process::id()));
    first.close().await;
    open(&path).await.expect("free again").close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let store = open(&path).await.expect("a store");
    store.register_node("one", super::START_MOMENT).await.expect("a node");
    for name in ["postrider.db", "postrider.db-wal", "postrider.db-shm"] {
        let found = std::fs::metadata(directory.path().join(name)).expect("the file");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
    store.close().await;
    let log = std::fs::metadata(directory.path().join("postrider.db-wal"));
    assert!(log.is_err(), "the file alone holds everything");
}

#[tokio::test]
async fn the_lock_file_is_private_and_a_link_in_its_place_is_not_followed() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let lock = directory.path().join("postrider.db.lock");
    // Of an older version, readable by all.
    std::fs::write(&lock, "1\n").expect("written");
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).expect("set");
    let store = open(&path).await.expect("opens");
    let mode = std::fs::metadata(&lock).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    store.close().await;
    let other = directory.path().join("other");
    std::fs::write(&other, "precious").expect("written");
    std::fs::remove_file(&lock).expect("removed");
    std::os::unix::fs::symlink(&other, &lock).expect("linked");
    let refused = open(&path).await.expect_err("refused");
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&other).expect("there"), "precious");
}
