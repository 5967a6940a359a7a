//! What a transaction counts for the statistics, and the packed form in which an engine commits it with what it
//! counts.

use std::collections::BTreeMap;

use super::delivery_queue::Record;
use super::statistics::StatisticsRow;
use crate::domain::attempt::{Effect, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::retry::Next;

pub(super) const MINUTE_MICROS: i64 = 60_000_000;
/// Counters of a row.
const COUNTERS: usize = 18;

/// A mapping's minute.
pub(super) type Key = (Timestamp, i64);
/// Rows by their minutes.
pub(super) type Rows = BTreeMap<Key, StatisticsRow>;

/// Something that is counted.
#[derive(Clone, Copy, Debug)]
enum Change {
    Accepted,
    Attempted { took_us: Option<u64>, failed: bool },
    Delivered,
    Dead(u64),
}

/// What a transaction counts.
#[derive(Debug, Default)]
pub(super) struct StatisticsCounts(Vec<(MappingId, Change)>);

impl StatisticsCounts {
    /// Counts an accepted delivery.
    pub(super) fn accepted(&mut self, mapping_id: MappingId) {
        self.0.push((mapping_id, Change::Accepted));
    }

    /// Counts a recorded attempt, late ones too, and the end of its delivery, if the record was applied. An
    /// attempt of unknown outcome has no latency.
    pub(super) fn recorded(&mut self, record: &Record, is_applied: bool) {
        let Record { mapping_id, attempt, next, .. } = record;
        if is_applied {
            match next {
                Next::Delivered => self.delivered(*mapping_id),
                Next::Dead { .. } => self.dead(*mapping_id, 1),
                Next::Retry { .. } | Next::Renewed { .. } | Next::Discarded => {}
            }
        }
        let took_us = (attempt.outcome != Outcome::Unknown).then_some(attempt.duration_us);
        let failed = match attempt.outcome.effect() {
            Effect::Delivered | Effect::Dropped => false,
            Effect::Retried | Effect::Dead => true,
        };
        self.0.push((*mapping_id, Change::Attempted { took_us, failed }));
    }

    /// Counts a delivery that became delivered.
    pub(super) fn delivered(&mut self, mapping_id: MappingId) {
        self.0.push((mapping_id, Change::Delivered));
    }

    /// Counts deliveries that became dead letters.
    pub(super) fn dead(&mut self, mapping_id: MappingId, count: u64) {
        if count > 0 {
            self.0.push((mapping_id, Change::Dead(count)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops what was counted after so many.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// The sums, for the minute of `now`.
    pub(super) fn sums(&self, now: Timestamp) -> Rows {
        let minute_at = now.start_of(MINUTE_MICROS);
        let mut rows = Rows::new();
        for (MappingId(mapping_id), change) in &self.0 {
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
}

/// A row's minute and mapping.
pub(super) const fn key(row: &StatisticsRow) -> Key {
    (row.minute_at, row.mapping_id)
}

/// Adds rows to those of the same minute and mapping.
pub(super) fn merge(into: &mut Rows, rows: impl IntoIterator<Item = StatisticsRow>) {
    for row in rows {
        into.entry(key(&row)).or_insert_with(|| empty(row.minute_at, row.mapping_id)).add(&row);
    }
}

fn empty(minute_at: Timestamp, mapping_id: i64) -> StatisticsRow {
    StatisticsRow { minute_at, mapping_id, ..StatisticsRow::default() }
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
pub(super) fn pack(row: &StatisticsRow, into: &mut Vec<u8>) {
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
