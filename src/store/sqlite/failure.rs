//! What an error of SQLite means for the writer: which errors a statement alone pays for, which
//! cost the connection, and which end the process because the file can no longer be vouched for.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use sqlx::error::{DatabaseError, ErrorKind};

use crate::store::StoreError;

/// How far an error reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The statement; the connection is sound.
    Statement,
    /// No space: everything in the transaction; SQLite has rolled back, the connection goes.
    Full,
    /// The connection: everything in the transaction, and it goes.
    Connection,
    /// The file: what is on disk is not known. The process ends; the restart recovers.
    File,
}

/// Why a step did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite said no.
    Sql(sqlx::Error),
    /// The step itself said no; the connection is sound.
    Refused(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
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
/// The shared index of the log could not grow: the disk is full.
const SQLITE_IOERR_SHMSIZE: i32 = 4_874;

/// How far `error` reaches.
pub(super) fn reach(error: &sqlx::Error) -> Reach {
    let Some(database) = error.as_database_error() else {
        return Reach::Connection;
    };
    let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
    match code {
        SQLITE_IOERR_SHMSIZE => Reach::Full,
        SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC | SQLITE_IOERR_WRITE => Reach::File,
        _ => match code & 0xFF {
            SQLITE_FULL => Reach::Full,
            SQLITE_CORRUPT | SQLITE_NOTADB => Reach::File,
            SQLITE_IOERR => Reach::Connection,
            _ => Reach::Statement,
        },
    }
}

/// What rusqlite says, as sqlx would say it.
pub(super) fn direct_error(error: rusqlite::Error) -> sqlx::Error {
    let rusqlite::Error::SqliteFailure(failed, message) = error else {
        return sqlx::Error::Encode(Box::new(error));
    };
    let message = message.unwrap_or_else(|| failed.to_string());
    sqlx::Error::Database(Box::new(Direct { code: failed.extended_code, message }))
}

/// An error of SQLite that came by way of rusqlite.
#[derive(Debug, thiserror::Error)]
#[error("(code: {code}) {message}")]
struct Direct {
    code: i32,
    message: String,
}

impl DatabaseError for Direct {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.code.to_string()))
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The error that a caller of the step `context` gets.
pub(super) fn to_store(context: &'static str, failure: Failure) -> StoreError {
    match failure {
        Failure::Refused(error) => error,
        Failure::Sql(sqlx::Error::PoolClosed) => StoreError::Closed,
        Failure::Sql(error) if reach(&error) == Reach::Full => StoreError::Full,
        Failure::Sql(source) => StoreError::Database { context, source: source.into() },
    }
}

/// The same error for each of several callers whose steps shared a transaction.
pub(super) fn shared(context: &'static str, error: &Arc<sqlx::Error>) -> StoreError {
    if reach(error) == Reach::Full {
        return StoreError::Full;
    }
    let source = sqlx::Error::Io(std::io::Error::other(Arc::clone(error)));
    StoreError::Database { context, source: source.into() }
}
