//! Why a step of an engine failed, before the engine turns it into the store's error: the driver's error, or a
//! refusal of the step itself.

use super::StoreError;

/// An error of a database driver. SQLite's writer uses rusqlite; its readers and PostgreSQL use sqlx.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlError {
    /// From a statement of SQLite's writer.
    #[error("{}", with_code(.0))]
    Rusqlite(rusqlite::Error),
    /// From sqlx.
    #[error(transparent)]
    Sqlx(#[from] sqlx::Error),
    /// A file of SQLite was removed or replaced: what was committed is in a file that no path leads to.
    #[error(transparent)]
    Lost(#[from] LostFile),
}

/// A file that is no longer the one that was opened.
#[derive(Debug, thiserror::Error)]
#[error("{path} was {what} while the service ran; what was not acknowledged yet is refused")]
pub(super) struct LostFile {
    /// Its path.
    pub(super) path: String,
    /// What happened to it.
    pub(super) what: &'static str,
}

impl From<rusqlite::Error> for SqlError {
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
    /// The database failed.
    Sql(SqlError),
    /// The step refused; the connection is sound.
    Refused(StoreError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
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
