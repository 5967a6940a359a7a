//! Errors of SQLite: the rollback that an error asks of the writer, and the one place that turns it into the
//! store's error.

use std::sync::Arc;

use crate::store::StoreError;
use crate::store::failure::{Failure, SqlError};

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

const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;
const SQLITE_IOERR_FSYNC: i32 = 1_034;
const SQLITE_IOERR_DIR_FSYNC: i32 = 1_290;
const SQLITE_IOERR_WRITE: i32 = 778;
/// The WAL index (`-shm`) could not grow: the disk is full.
const SQLITE_IOERR_SHMSIZE: i32 = 4_874;

impl SqlError {
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
        Failure::Sql(SqlError::Sqlx(sqlx::Error::PoolClosed)) => StoreError::Closed,
        Failure::Sql(error) if error.reach() == Reach::Full => StoreError::Full,
        Failure::Sql(error) => StoreError::Database { context, source: error.into() },
    }
}

/// The same error for each of several callers whose steps shared a transaction.
pub(super) fn shared(context: &'static str, error: &Arc<SqlError>) -> StoreError {
    if error.reach() == Reach::Full {
        return StoreError::Full;
    }
    StoreError::Database { context, source: Arc::clone(error).into() }
}
