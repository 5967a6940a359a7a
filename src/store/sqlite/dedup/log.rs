//! The de-duplication log: the keys of each commit, appended as one row, so that a restart can rebuild the
//! memtable.

use rusqlite::params;
use smallvec::SmallVec;

use super::super::writer::connection::Connection;
use crate::store::message_key::MessageKey as Key;

const APPEND: &str = "INSERT INTO dedup_log (id, keys) VALUES (?, ?)";
const TRUNCATE: &str = "DELETE FROM dedup_log WHERE id <= ?";

/// What one transaction appends.
#[derive(Default)]
pub(super) struct LogRows(SmallVec<[LogRow; 1]>);

/// The keys of consecutive events, under the id of the first of them.
struct LogRow {
    id: i64,
    keys: Vec<Key>,
}

impl LogRow {
    /// Whether this event is the next one; after a rejected event, which has no key, it is not.
    fn is_followed_by(&self, event_id: i64) -> bool {
        usize::try_from(event_id - self.id).is_ok_and(|at| at == self.keys.len())
    }
}

impl LogRows {
    /// Adds the key of an event; returns the id of its row.
    pub(super) fn push(&mut self, event_id: i64, key: Key) -> i64 {
        match self.0.last_mut() {
            Some(row) if row.is_followed_by(event_id) => {
                row.keys.push(key);
                row.id
            }
            Some(_) | None => {
                self.0.push(LogRow { id: event_id, keys: vec![key] });
                event_id
            }
        }
    }

    /// Writes the rows.
    pub(super) fn append(self, sqlite: &Connection) -> rusqlite::Result<()> {
        for LogRow { id, keys } in &self.0 {
            sqlite.execute(APPEND, params![id, keys.as_flattened()])?;
        }
        Ok(())
    }
}

/// Removes the rows up to `id`: their keys are in a table.
pub(super) fn truncate(sqlite: &Connection, id: i64) -> rusqlite::Result<()> {
    sqlite.execute(TRUNCATE, params![id]).map(|_| ())
}
