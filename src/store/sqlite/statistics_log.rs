//! The statistics log: what each transaction counts, committed with it, until a roll-up adds it to the
//! statistics tables. The newest counts are a column of the ledger's row, which every commit writes anyway, so
//! that counting costs no page; larger parts of the log are rows of a table.

use rusqlite::params;

use super::writer::connection::Connection;
use crate::domain::clock::Timestamp;
use crate::store::StatisticsRow;
use crate::store::statistics_counts::{Key, Rows, StatisticsCounts, key, merge, pack, unpack};

/// Bytes of counts in the ledger's row before they become a row of the table.
const TAIL_BYTES: usize = 4_096;
/// Bytes of the table before its rows are merged into one.
const LOG_BYTES: usize = 512 << 10;

/// The log, and the changes of the running transaction: [`StatisticsLog::commit`] or
/// [`StatisticsLog::roll_back`] ends it.
#[derive(Debug, Default)]
pub(crate) struct StatisticsLog {
    /// Committed and not rolled up yet.
    rows: Rows,
    tail: Vec<u8>,
    table_bytes: usize,
    running: Running,
}

/// The changes of the running transaction.
#[derive(Debug, Default)]
struct Running {
    counts: StatisticsCounts,
    /// Rolled up: the table has been rewritten without them, and the tail is void.
    rolled_up: Vec<Key>,
    table_bytes: Option<usize>,
    /// From [`StatisticsLog::save`].
    added: Rows,
    tail: Vec<u8>,
}

/// A savepoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    counts: usize,
    rolled_up: usize,
    table_bytes: Option<usize>,
}

impl StatisticsLog {
    /// Reads it from the file.
    pub(crate) fn load(sqlite: &Connection) -> rusqlite::Result<Self> {
        let mut log = Self::default();
        let read = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(0);
        log.tail = sqlite.one::<_, rusqlite::Error>("SELECT statistics FROM ledger", &[], read)?;
        let sql = "SELECT counts FROM statistics_log";
        for counts in sqlite.all::<_, rusqlite::Error>(sql, &[], read)? {
            log.table_bytes += counts.len();
            merge(&mut log.rows, unpack(&counts));
        }
        merge(&mut log.rows, unpack(&log.tail));
        Ok(log)
    }

    /// What the running transaction counts.
    pub(in crate::store) fn counts(&mut self) -> &mut StatisticsCounts {
        &mut self.running.counts
    }

    /// The oldest committed rows that are not rolled up.
    pub(crate) fn oldest(&self, limit: usize) -> Vec<StatisticsRow> {
        let rows = self.rows.iter().filter(|(key, _)| !self.running.rolled_up.contains(key));
        rows.take(limit).map(|(_, row)| *row).collect()
    }

    /// Removes rows that the running transaction has added to the statistics tables.
    pub(crate) fn remove(
        &mut self,
        sqlite: &Connection,
        rolled_up: &[StatisticsRow],
    ) -> rusqlite::Result<()> {
        self.running.rolled_up.extend(rolled_up.iter().map(key));
        self.rewrite(sqlite)
    }

    /// Merges the table and the committed tail into one row, without what was rolled up.
    fn rewrite(&mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        let mut counts = Vec::new();
        for (key, row) in &self.rows {
            if !self.running.rolled_up.contains(key) {
                pack(row, &mut counts);
            }
        }
        sqlite.execute("DELETE FROM statistics_log", &[])?;
        append(sqlite, &counts)?;
        self.running.table_bytes = Some(counts.len());
        Ok(())
    }

    /// A savepoint in the running transaction.
    pub(crate) fn savepoint(&self) -> Savepoint {
        let Running { counts, rolled_up, table_bytes, .. } = &self.running;
        Savepoint { counts: counts.len(), rolled_up: rolled_up.len(), table_bytes: *table_bytes }
    }

    /// Rolls back to a savepoint.
    pub(crate) fn roll_back_to(&mut self, savepoint: Savepoint) {
        self.running.counts.truncate(savepoint.counts);
        self.running.rolled_up.truncate(savepoint.rolled_up);
        self.running.table_bytes = savepoint.table_bytes;
    }

    /// Before the commit: writes what the transaction counted, but for the tail. Returns the tail, for the
    /// ledger's row, if it has changed.
    pub(crate) fn save(
        &mut self,
        sqlite: &Connection,
        now: Timestamp,
    ) -> rusqlite::Result<Option<&[u8]>> {
        if self.running.counts.is_empty() && self.running.table_bytes.is_none() {
            return Ok(None);
        }
        self.running.added = self.running.counts.sums(now);
        if self.running.table_bytes.is_none() && self.table_bytes > LOG_BYTES {
            self.rewrite(sqlite)?;
        }
        let mut tail = std::mem::take(&mut self.running.tail);
        tail.clear();
        if self.running.table_bytes.is_none() {
            tail.extend_from_slice(&self.tail);
        }
        self.running.added.values().for_each(|row| pack(row, &mut tail));
        if tail.len() > TAIL_BYTES {
            append(sqlite, &tail)?;
            let table_bytes = self.running.table_bytes.unwrap_or(self.table_bytes);
            self.running.table_bytes = Some(table_bytes + tail.len());
            tail.clear();
        }
        self.running.tail = tail;
        Ok(Some(&self.running.tail))
    }

    /// The transaction was committed.
    pub(crate) fn commit(&mut self) {
        let running = &mut self.running;
        if running.counts.is_empty() && running.table_bytes.is_none() {
            return;
        }
        for key in running.rolled_up.drain(..) {
            self.rows.remove(&key);
        }
        merge(&mut self.rows, std::mem::take(&mut running.added).into_values());
        self.table_bytes = running.table_bytes.take().unwrap_or(self.table_bytes);
        std::mem::swap(&mut self.tail, &mut running.tail);
        running.counts.truncate(0);
    }

    /// The transaction was rolled back.
    pub(crate) fn roll_back(&mut self) {
        self.running = Running::default();
    }
}

fn append(sqlite: &Connection, counts: &[u8]) -> rusqlite::Result<()> {
    if !counts.is_empty() {
        sqlite.insert("INSERT INTO statistics_log (counts) VALUES (?)", params![counts])?;
    }
    Ok(())
}
