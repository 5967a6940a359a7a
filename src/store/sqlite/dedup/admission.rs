//! Admission: whether a message is new. It looks the key up in the memtable, then in each table whose Bloom
//! filter may contain it; a new key goes to memtable and log.

use rusqlite::params;
use smallvec::SmallVec;

use super::super::writer::connection::{Connection, Statement};
use super::super::writer::step::Tx;
use super::log::LogRows;
use super::memtable::Entry;
use crate::store::message_key::MessageKey as Key;

const FIND: [&str; 3] = [
    "SELECT 1 FROM dedup_0 WHERE key = ?",
    "SELECT 1 FROM dedup_1 WHERE key = ?",
    "SELECT 1 FROM dedup_2 WHERE key = ?",
];

/// Admits the messages of one transaction.
pub(crate) struct Admission<'a> {
    /// Of the tables that hold any key.
    find: SmallVec<[(usize, Statement<'a>); 3]>,
    log: LogRows,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(tx: &Tx<'a>) -> rusqlite::Result<Self> {
        let filled = tx.state.rotation.filled;
        let find = (0..3).filter(|table| filled[*table]).map(|table| {
            let find = tx.prepare(FIND[table])?;
            Ok::<_, rusqlite::Error>((table, find))
        });
        Ok(Self { find: find.collect::<Result<_, _>>()?, log: LogRows::default() })
    }

    /// Whether the message of the next event is new; its key is kept then.
    pub(crate) fn admits(&mut self, tx: &mut Tx<'_>, key: &Key) -> rusqlite::Result<bool> {
        if tx.memtable.contains(key) {
            return Ok(false);
        }
        for (table, find) in &mut self.find {
            if tx.filters.may_contain(*table, key) && find.exists(params![key])? {
                return Ok(false);
            }
        }
        let event_id = tx.state.next_event_id;
        let log_id = self.log.push(event_id, *key);
        tx.memtable.insert(log_id, Entry { key: *key, event_id });
        Ok(true)
    }

    /// Appends the new keys to the log.
    pub(crate) fn append_log(self, sqlite: &Connection) -> rusqlite::Result<()> {
        self.log.append(sqlite)
    }
}
