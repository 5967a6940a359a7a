//! Opening a store: the one place that chooses the engine.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::Store;
use super::postgres::{self, PostgresStore};
use super::sqlite::{self, SqliteStore};
use crate::domain::clock::Clock;
use crate::domain::database::DatabaseAddress;
use crate::telemetry::metrics::Metrics;

/// What is needed to open a store.
pub struct OpenRequest<'a> {
    /// The database.
    pub database: &'a DatabaseAddress,
    /// Below this much free disk space of SQLite's file [`super::Capacity::has_room`] is false.
    pub min_free_disk_bytes: u64,
    /// Where the engine counts.
    pub metrics: Arc<Metrics>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite's file.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// PostgreSQL's database.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
}

impl OpenError {
    /// Whether the cause is what was given (an address, a user's rights), rather than a file.
    #[must_use]
    pub const fn is_of_input(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(_) => true,
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Sqlite(error) => error.hint(),
            Self::Postgres(error) => error.hint(),
        }
    }
}

/// Opens the store and brings its schema up to date.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn open(request: OpenRequest<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let OpenRequest { database, min_free_disk_bytes, metrics, clock } = request;
    match database {
        DatabaseAddress::File(path) => {
            let options = sqlite::OpenOptions {
                min_free_disk_bytes,
                ..sqlite::OpenOptions::new(path, metrics, clock)
            };
            Ok(Arc::new(SqliteStore::open(options).await?))
        }
        DatabaseAddress::Server(address) => {
            let options = postgres::OpenOptions::new(address.expose_secret(), metrics, clock);
            Ok(Arc::new(PostgresStore::open(options).await?))
        }
    }
}
