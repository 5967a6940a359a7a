//! Errors of PostgreSQL: what the caller of a step gets, and which errors the step is tried again after.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::StoreError;
use crate::store::failure::{Failure, SqlError};

/// `disk_full`.
const DISK_FULL: &str = "53100";
/// `serialization_failure` and `deadlock_detected`.
const RETRIED: [&str; 2] = ["40001", "40P01"];

/// The SQLSTATE of an error that the server reported.
pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

/// Whether the transaction may succeed when it is run again.
pub(super) fn is_retried(failure: &Failure) -> bool {
    match failure {
        Failure::Sql(SqlError::Sqlx(error)) => {
            sqlstate(error).is_some_and(|code| RETRIED.contains(&code.as_str()))
        }
        Failure::Sql(SqlError::Rusqlite(_) | SqlError::Lost(_)) | Failure::Refused(_) => false,
    }
}

/// Whether the server refused a statement: the connection is sound. After a fatal error the server closes it.
pub(super) fn is_of_statement(failure: &Failure) -> bool {
    match failure {
        Failure::Sql(SqlError::Sqlx(error)) => error
            .as_database_error()
            .and_then(|it| it.try_downcast_ref::<PgDatabaseError>())
            .is_some_and(|it| !matches!(it.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        Failure::Sql(SqlError::Rusqlite(_) | SqlError::Lost(_)) => false,
        Failure::Refused(_) => true,
    }
}

/// The error that the caller of the step `context` gets.
pub(super) fn to_store(context: &'static str, failure: impl Into<Failure>) -> StoreError {
    match failure.into() {
        Failure::Refused(error) => error,
        Failure::Sql(SqlError::Sqlx(sqlx::Error::PoolClosed)) => StoreError::Closed,
        Failure::Sql(SqlError::Sqlx(error)) if sqlstate(&error).as_deref() == Some(DISK_FULL) => {
            StoreError::Full
        }
        Failure::Sql(error) => StoreError::Database { context, source: error.into() },
    }
}
