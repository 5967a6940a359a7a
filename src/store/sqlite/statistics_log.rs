//! The statistics log: what each transaction counts, committed with it, until a roll-up adds it to the
//! statistics tables. The newest counts are a column of the ledger's row, which every commit writes anyway, so
//! that counting costs no page; larger parts of the log are rows of a table.

use std::collections::BTreeMap;

use rusqlite::params;

use super::writer::connection::Connection;
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::store::StatisticsRow;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;
/// Bytes of counts in the ledger's row before they become a row of the table.
const TAIL_BYTES: usize = 4_096;
/// Bytes of the table before its rows are merged into one.
const LOG_BYTES: usize = 512 << 10;
/// Counters of a row.
const COUNTERS: usize = 18;

/// A mapping's minute.
type Key = (Timestamp, i64);
type Rows = BTreeMap<Key, StatisticsRow>;

/// What a transaction counts.
#[derive(Clone, Copy, Debug)]
enum Change {
    Accepted,
    Attempted { took_us: Option<u64>, failed: bool },
    Delivered,
    Dead(u64),
}

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
    changes: Vec<(MappingId, Change)>,
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
    changes: usize,
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

    /// Counts an accepted delivery.
    pub(crate) fn accepted(&mut self, mapping_id: MappingId) {
        self.running.changes.push((mapping_id, Change::Accepted));
    }

    /// Counts a recorded attempt. Where nothing was sent or its end is unknown, it has no latency.
    pub(crate) fn attempted(&mut self, mapping_id: MappingId, took_us: Option<u64>, failed: bool) {
        self.running.changes.push((mapping_id, Change::Attempted { took_us, failed }));
    }

    /// Counts a delivery that became delivered.
    pub(crate) fn delivered(&mut self, mapping_id: MappingId) {
        self.running.changes.push((mapping_id, Change::Delivered));
    }

    /// Counts deliveries that became dead letters.
    pub(crate) fn dead(&mut self, mapping_id: MappingId, count: u64) {
        if count > 0 {
            self.running.changes.push((mapping_id, Change::Dead(count)));
        }
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
        let Running { changes, rolled_up, table_bytes, .. } = &self.running;
        Savepoint { changes: changes.len(), rolled_up: rolled_up.len(), table_bytes: *table_bytes }
    }

    /// Rolls back to a savepoint.
    pub(crate) fn roll_back_to(&mut self, savepoint: Savepoint) {
        self.running.changes.truncate(savepoint.changes);
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
        if self.running.changes.is_empty() && self.running.table_bytes.is_none() {
            return Ok(None);
        }
        self.running.added = sums(&self.running.changes, now.start_of(MINUTE_MICROS));
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
        if running.changes.is_empty() && running.table_bytes.is_none() {
            return;
        }
        for key in running.rolled_up.drain(..) {
            self.rows.remove(&key);
        }
        merge(&mut self.rows, std::mem::take(&mut running.added).into_values());
        self.table_bytes = running.table_bytes.take().unwrap_or(self.table_bytes);
        std::mem::swap(&mut self.tail, &mut running.tail);
        running.changes.clear();
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

const fn key(row: &StatisticsRow) -> Key {
    (row.minute_at, row.mapping_id)
}

fn merge(into: &mut Rows, rows: impl IntoIterator<Item = StatisticsRow>) {
    for row in rows {
        into.entry(key(&row)).or_insert_with(|| empty(row.minute_at, row.mapping_id)).add(&row);
    }
}

fn empty(minute_at: Timestamp, mapping_id: i64) -> StatisticsRow {
    StatisticsRow { minute_at, mapping_id, ..StatisticsRow::default() }
}

fn sums(changes: &[(MappingId, Change)], minute_at: Timestamp) -> Rows {
    let mut rows = Rows::new();
    for (MappingId(mapping_id), change) in changes {
        let key = (minute_at, *mapping_id);
        let row = rows.entry(key).or_insert_with(|| empty(minute_at, *mapping_id));
        match *change {
            Change::Accepted => row.accepted += 1,
            Change::Attempted { took_us, failed } => {
                row.attempts += 1;
                row.failed += u64::from(failed);
                if let Some(took_us) = took_us {
                    row.took(took_us);
                }
            }
            Change::Delivered => row.delivered += 1,
            Change::Dead(count) => row.dead += count,
        }
    }
    rows
}

/// The counters of a row, in the order in which they are packed.
fn counters(row: &StatisticsRow) -> impl Iterator<Item = u64> {
    let StatisticsRow { accepted, attempts, delivered, dead, failed, attempt_us, .. } = *row;
    [accepted, attempts, delivered, dead, failed, attempt_us].into_iter().chain(row.latencies)
}

fn counters_mut(row: &mut StatisticsRow) -> impl Iterator<Item = &mut u64> {
    let StatisticsRow {
        accepted, attempts, delivered, dead, failed, attempt_us, latencies, ..
    } = row;
    [accepted, attempts, delivered, dead, failed, attempt_us].into_iter().chain(latencies)
}

/// Appends a row: its minute, its mapping, which counters are not zero, and these, each as a variable-length
/// integer (LEB128).
fn pack(row: &StatisticsRow, into: &mut Vec<u8>) {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let set = counters(row).zip(0..).filter(|(count, _)| *count > 0);
    let bits = set.fold(0_u64, |bits, (_, index)| bits | 1 << index);
    let minute = unsigned(row.minute_at.as_micros() / MINUTE_MICROS);
    let head = [minute, unsigned(row.mapping_id), bits];
    for mut number in head.into_iter().chain(counters(row).filter(|count| *count > 0)) {
        while number >= 0x80 {
            into.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        into.push(number.to_le_bytes()[0]);
    }
}

/// The packed rows. Bytes that no version of this program writes end them.
pub(super) fn unpack(mut bytes: &[u8]) -> Vec<StatisticsRow> {
    let mut rows = Vec::new();
    while let Some(row) = next_row(&mut bytes) {
        rows.push(row);
    }
    rows
}

fn next_row(bytes: &mut &[u8]) -> Option<StatisticsRow> {
    let mut signed = || next_number(bytes).and_then(|number| i64::try_from(number).ok());
    let (minute, mapping_id) = (signed()?, signed()?);
    let bits = next_number(bytes)?;
    let minute_at = Timestamp::from_micros(minute.checked_mul(MINUTE_MICROS)?);
    let mut row = empty(minute_at, mapping_id);
    for (counter, index) in counters_mut(&mut row).zip(0..COUNTERS) {
        if bits & (1 << index) != 0 {
            *counter = next_number(bytes)?;
        }
    }
    Some(row)
}

fn next_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(minute: i64, mapping_id: i64, of: u64) -> StatisticsRow {
        let mut row = empty(Timestamp::from_micros(minute * MINUTE_MICROS), mapping_id);
        for (counter, index) in counters_mut(&mut row).zip(0..) {
            *counter = if index % 3 == 0 { of } else { of.wrapping_mul(index) };
        }
        row
    }

    #[test]
    fn packed_rows_are_unpacked_as_they_were() {
        let rows =
            [row(29_000_000, 1, 0), row(29_000_001, 70_000, 127), row(0, i64::MAX, u64::MAX)];
        let mut packed = Vec::new();
        rows.iter().for_each(|row| pack(row, &mut packed));
        assert_eq!(unpack(&packed), rows);
        for end in 0..packed.len() {
            assert!(unpack(&packed[..end]).len() < rows.len(), "cut at {end}");
        }
    }
}
