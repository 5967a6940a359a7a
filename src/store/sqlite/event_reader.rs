//! Reads the events of claimed deliveries. They are thousands a second while a backlog drains, so they do not
//! go through the pool but are read by key with one prepared statement on a read-only connection of their own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::error::Failure;
use super::open::{self, OpenOptions};
use super::row::{self, EVENT_COLUMNS};
use crate::domain::event::Event;
use crate::domain::id::EventId;

/// Events by their keys.
pub(super) type Events = HashMap<EventId, Arc<Event>>;

/// The connection; opened by the first read, and again after an error.
#[derive(Debug)]
pub(super) struct EventReader {
    path: PathBuf,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl EventReader {
    pub(super) fn new(options: &OpenOptions) -> Self {
        Self { path: options.path.clone(), connection: Arc::default() }
    }

    /// The events with these keys that exist; a key may be given more than once.
    pub(super) async fn events(&self, mut ids: Vec<EventId>) -> Result<Events, Failure> {
        if ids.is_empty() {
            return Ok(Events::new());
        }
        ids.sort_unstable();
        ids.dedup();
        let (path, connection) = (self.path.clone(), Arc::clone(&self.connection));
        on_blocking_thread(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let sqlite = match connection.take() {
                Some(sqlite) => sqlite,
                None => open::connect_reader(&path)?,
            };
            let events = read(&sqlite, &ids)?;
            *connection = Some(sqlite);
            Ok(events)
        })
        .await
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        let connection = Arc::clone(&self.connection);
        let closed: Result<(), Failure> = on_blocking_thread(move || {
            drop(connection.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        })
        .await;
        if let Err(error) = closed {
            tracing::warn!(?error, "a read connection was not closed in order");
        }
    }
}

/// Runs disk I/O off the runtime's worker threads.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_ended) => Err(sqlx::Error::WorkerCrashed.into()),
    }
}

fn read(sqlite: &Connection, ids: &[EventId]) -> Result<Events, Failure> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ?");
    let mut statement = sqlite.prepare_cached(&sql)?;
    let mut events = Events::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([id.0])?;
        if let Some(row) = rows.next()? {
            events.insert(*id, Arc::new(row::event(row)?.event));
        }
    }
    Ok(events)
}
