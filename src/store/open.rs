//! Opening a store: the one place that chooses the engine. `sqlite://` is the only one yet; the
//! settings refuse other URLs.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::sqlite::{self, SqliteStore};
use crate::domain::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// What is needed to open a store.
pub struct OpenRequest<'a> {
    /// The database file.
    pub database: &'a Path,
    /// Below this much free disk space [`super::Capacity::has_room`] is false.
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
}

impl OpenError {
    /// What an operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Sqlite(error) => error.hint(),
        }
    }
}

/// Opens the store and brings its schema up to date.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn open(request: OpenRequest<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let OpenRequest { database, min_free_disk_bytes, metrics, clock } = request;
    let options = sqlite::OpenOptions {
        min_free_disk_bytes,
        ..sqlite::OpenOptions::new(database, metrics, clock)
    };
    Ok(Arc::new(SqliteStore::open(options).await?))
}
