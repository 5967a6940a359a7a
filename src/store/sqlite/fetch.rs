//! Reads the events of claimed deliveries, on a connection of its own: where a backlog is worked off
//! they are thousands a second, each is looked up by its key, and one statement, prepared once, does it
//! row by row where it is called.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, Row};

use super::failure::{Failure, direct_error};
use super::open::{self, OpenOptions};
use super::row::{EVENT_COLUMNS, foreign};
use crate::domain::clock::Timestamp;
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::{EventId, SourceId};
use crate::domain::trace::Trace;

/// Events by their keys.
pub(super) type Events = HashMap<EventId, Arc<Event>>;

/// The connection; it is made when it is first needed, and anew after it failed.
#[derive(Debug)]
pub(super) struct Fetch {
    path: PathBuf,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Fetch {
    pub(super) fn new(options: &OpenOptions) -> Self {
        Self { path: options.path.clone(), connection: Arc::default() }
    }

    /// The events that are there, of these; a key may be given more than once.
    pub(super) async fn events(&self, mut ids: Vec<EventId>) -> Result<Events, Failure> {
        if ids.is_empty() {
            return Ok(Events::new());
        }
        ids.sort_unstable();
        ids.dedup();
        let (path, connection) = (self.path.clone(), Arc::clone(&self.connection));
        in_thread(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let sqlite = match connection.take() {
                Some(sqlite) => sqlite,
                None => open::connect_to_fetch(&path)?,
            };
            let events = read(&sqlite, &ids)?;
            *connection = Some(sqlite);
            Ok(events)
        })
        .await
    }

    /// Ends it.
    pub(super) async fn close(&self) {
        let connection = Arc::clone(&self.connection);
        let ended: Result<(), Failure> = in_thread(move || {
            drop(connection.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        })
        .await;
        if let Err(error) = ended {
            tracing::warn!(?error, "a connection that reads was not closed in order");
        }
    }
}

/// Runs what may wait for the disk where nobody else waits for it.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_ended) => Err(Failure::Sql(sqlx::Error::WorkerCrashed)),
    }
}

fn read(sqlite: &Connection, ids: &[EventId]) -> Result<Events, Failure> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ?");
    let mut statement = sqlite.prepare_cached(&sql).map_err(direct_error)?;
    let mut events = Events::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([id.0]).map_err(direct_error)?;
        if let Some(row) = rows.next().map_err(direct_error)? {
            events.insert(*id, Arc::new(event(row)?));
        }
    }
    Ok(events)
}

/// An event from a row of [`EVENT_COLUMNS`].
fn event(row: &Row<'_>) -> Result<Event, Failure> {
    let text = |column| row.get::<_, Option<String>>(column).map_err(direct_error);
    let number = |column| row.get::<_, i64>(column).map_err(direct_error);
    let kind = match text(2)? {
        Some(word) => {
            Some(EventType::parse(&word).ok_or_else(|| foreign("the event type", &word))?)
        }
        None => None,
    };
    let trace = match text(10)? {
        Some(text) => Some(Trace::parse_text(&text).ok_or_else(|| foreign("the trace", &text))?),
        None => None,
    };
    Ok(Event {
        source_id: SourceId(number(1)?),
        kind,
        message_id: row.get(3).map_err(direct_error)?,
        received_at: Timestamp::from_micros(number(4)?),
        name: text(5)?,
        user_id: text(6)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(7).map_err(direct_error)?),
        envelope: text(8)?,
        rejection: text(9)?,
        trace: trace.map(Arc::new),
        document: Document::default(),
    })
}
