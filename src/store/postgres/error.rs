//! Errors of PostgreSQL: what the caller of a step gets, and which errors the step is tried again after.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::StoreError;
use crate::store::failure::{Failure, SqlError};

/// `disk_full`.
const DISK_FULL: &str = "53100";
/// `read_only_sql_transaction`: the server has become a standby.
const READ_ONLY: &str = "25006";
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

/// Whether the server refused a statement: the connection is sound. After a fatal error the server closes it, and on
/// a standby nothing can be written.
pub(super) fn is_of_statement(failure: &Failure) -> bool {
    match failure {
        Failure::Sql(SqlError::Sqlx(error)) => {
            error.as_database_error().is_some() && !is_unreachable(error)
        }
        Failure::Sql(SqlError::Rusqlite(_) | SqlError::Lost(_)) => false,
        Failure::Refused(_) => true,
    }
}

/// Whether there is no server that could have taken the statement.
fn is_unreachable(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut
        );
    };
    let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    error.code().as_deref() == Some(READ_ONLY)
        || matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

/// Whether a failed step shows that there is no server to write to.
pub(super) fn shows_outage(failure: &Failure) -> bool {
    match failure {
        Failure::Sql(SqlError::Sqlx(error)) => is_unreachable(error),
        Failure::Sql(SqlError::Rusqlite(_) | SqlError::Lost(_)) | Failure::Refused(_) => false,
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
        Failure::Sql(SqlError::Sqlx(error)) if is_unreachable(&error) => {
            StoreError::Unreachable { context, source: error.into() }
        }
        Failure::Sql(error) => StoreError::Database { context, source: error.into() },
    }
}
