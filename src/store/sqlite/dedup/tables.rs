//! The sorted tables: compaction of the memtable into the active one, a few keys with each commit, and their
//! rotation.

use rusqlite::params;

use super::super::writer::step::{Step, Tx};
use super::log;
use super::memtable::{COMPACTED_AT_ONCE, Entry};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;

const INSERT: [&str; 3] = [
    "INSERT OR IGNORE INTO dedup_0 (key, event_id) VALUES (?, ?)",
    "INSERT OR IGNORE INTO dedup_1 (key, event_id) VALUES (?, ?)",
    "INSERT OR IGNORE INTO dedup_2 (key, event_id) VALUES (?, ?)",
];
const EMPTY: [&str; 3] = ["DELETE FROM dedup_0", "DELETE FROM dedup_1", "DELETE FROM dedup_2"];

/// Takes a running compaction a step further. The last step truncates the log.
pub(crate) fn compact(tx: &mut Tx<'_>) -> rusqlite::Result<()> {
    let Some(step) = tx.memtable.next_step(COMPACTED_AT_ONCE) else { return Ok(()) };
    let table = tx.state.rotation.active;
    let mut insert = tx.prepare(INSERT[table])?;
    if !tx.state.rotation.filled[table] {
        tx.filters.reset(table);
    }
    for Entry { key, event_id } in &step.entries {
        insert.execute(params![key, event_id])?;
        tx.filters.insert(table, key);
    }
    if let Some(id) = step.truncates_log_to {
        log::truncate(tx.sqlite, id)?;
    }
    tx.state.rotation.filled[table] = true;
    tx.memtable.compacted(&step);
    Ok(())
}

/// Begins to compact the whole memtable when a rotation is due, so that its keys expire with the table; each
/// transaction then takes it a step further. Gives the compaction's end while it runs.
#[derive(Debug)]
pub(crate) struct Compact {
    /// The current time.
    pub(crate) now: ServiceTime,
    /// The compaction's end; none to begin one.
    pub(crate) until: Option<i64>,
}

impl Step for Compact {
    type Answer = Option<i64>;
    const CONTEXT: &'static str = "compact the de-duplication keys";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<i64>, Failure> {
        if self.until.is_none() && tx.state.rotation.is_due(self.now) {
            tx.memtable.begin_compaction();
        }
        let running = tx.memtable.compacts_until();
        Ok(running.filter(|_| self.until.is_none_or(|until| running == Some(until))))
    }
}

/// Rotates to the next table when it is due and all keys in that one have expired.
#[derive(Debug)]
pub(crate) struct Rotate {
    /// The current time.
    pub(crate) now: ServiceTime,
}

impl Step for Rotate {
    type Answer = ();
    const CONTEXT: &'static str = "rotate the de-duplication tables";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let mut rotation = tx.state.rotation;
        if !rotation.has_started() {
            rotation.start(self.now);
        } else if rotation.is_due(self.now) {
            let next = rotation.next();
            if rotation.filled[next] {
                tx.execute(EMPTY[next], &[])?;
            }
            rotation.advance(self.now, tx.state.next_event_id);
        } else {
            return Ok(());
        }
        rotation.save(tx.sqlite)?;
        tx.state.rotation = rotation;
        Ok(())
    }
}
