//! Errors of the engine. One type for both clients of SQLite, the rollback that an error asks of the writer,
//! and the one place that turns it into the store's error.

use std::sync::Arc;

use super::file_identity::LostFile;
use crate::store::StoreError;

/// What has to be rolled back, and what is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The statement. A rollback to a savepoint undoes it; the connection stays in use.
    Statement,
    /// The transaction, because the disk is full. SQLite has rolled back; the connection is replaced.
    Full,
    /// The transaction. SQLite has rolled back; the connection is replaced.
    Connection,
    /// The file: its content is unknown, as after a failed fsync. The process ends; the restart recovers.
    File,
}

/// An error of SQLite. The writer uses rusqlite, the read pool and migrations use sqlx.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqliteError {
    /// From a statement of the writer.
    #[error("{}", with_code(.0))]
    Rusqlite(rusqlite::Error),
    /// From the read pool or a migration.
    #[error(transparent)]
    Sqlx(#[from] sqlx::Error),
    /// A file was removed or replaced: what was committed is in a file that no path leads to.
    #[error(transparent)]
    Lost(#[from] LostFile),
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Rusqlite(error)
    }
}

/// With the extended result code: "disk I/O error" stands for thirty of them.
fn with_code(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(it) => format!("(code: {}) {error}", it.extended_code),
        None => error.to_string(),
    }
}

/// Why a step failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite failed.
    Sql(SqliteError),
    /// The step refused; the connection is sound.
    Refused(StoreError),
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        Self::Sql(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;
const SQLITE_IOERR_FSYNC: i32 = 1_034;
const SQLITE_IOERR_DIR_FSYNC: i32 = 1_290;
const SQLITE_IOERR_WRITE: i32 = 778;
/// The WAL index (`-shm`) could not grow: the disk is full.
const SQLITE_IOERR_SHMSIZE: i32 = 4_874;

impl SqliteError {
    /// SQLite's extended result code; none when the error is of the client library.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Rusqlite(error) => error.sqlite_error().map(|it| it.extended_code),
            Self::Sqlx(error) => {
                let database = error.as_database_error()?;
                Some(database.code().and_then(|code| code.parse().ok()).unwrap_or(0))
            }
            Self::Lost(_) => None,
        }
    }

    /// How far the writer has to roll back.
    pub(super) fn reach(&self) -> Reach {
        if matches!(self, Self::Lost(_)) {
            return Reach::File;
        }
        match self.code() {
            None => Reach::Connection,
            Some(SQLITE_IOERR_SHMSIZE) => Reach::Full,
            Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC | SQLITE_IOERR_WRITE) => Reach::File,
            Some(code) => match code & 0xFF {
                SQLITE_FULL => Reach::Full,
                SQLITE_CORRUPT | SQLITE_NOTADB => Reach::File,
                SQLITE_IOERR => Reach::Connection,
                _ => Reach::Statement,
            },
        }
    }
}

/// The error that the caller of the step `context` gets.
pub(super) fn to_store(context: &'static str, failure: impl Into<Failure>) -> StoreError {
    match failure.into() {
        Failure::Refused(error) => error,
        Failure::Sql(SqliteError::Sqlx(sqlx::Error::PoolClosed)) => StoreError::Closed,
        Failure::Sql(error) if error.reach() == Reach::Full => StoreError::Full,
        Failure::Sql(error) => StoreError::Database { context, source: error.into() },
    }
}

/// The same error for each of several callers whose steps shared a transaction.
pub(super) fn shared(context: &'static str, error: &Arc<SqliteError>) -> StoreError {
    if error.reach() == Reach::Full {
        return StoreError::Full;
    }
    StoreError::Database { context, source: Arc::clone(error).into() }
}
