//! Statistics by mapping and minute, in memory until a scheduled job stores them. A crash loses the
//! minutes not stored yet; the ledger and the attempts lose nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::retry::Next;
use crate::store::StatisticsRow;

const MINUTE_MICROS: i64 = 60_000_000;

#[derive(Debug, Default)]
pub(super) struct MinuteStatistics(Mutex<HashMap<(MappingId, Timestamp), StatisticsRow>>);

impl MinuteStatistics {
    fn rows(&self) -> MutexGuard<'_, HashMap<(MappingId, Timestamp), StatisticsRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(
        &self,
        mapping_id: MappingId,
        at: Timestamp,
        update: impl FnOnce(&mut StatisticsRow),
    ) {
        let minute_at = at.start_of(MINUTE_MICROS);
        let mut rows = self.rows();
        update(rows.entry((mapping_id, minute_at)).or_insert_with(|| StatisticsRow {
            minute_at,
            mapping_id: mapping_id.0,
            ..StatisticsRow::default()
        }));
    }

    /// Counts an accepted delivery.
    pub(super) fn accepted(&self, mapping_id: MappingId, at: Timestamp) {
        self.update(mapping_id, at, |row| row.accepted += 1);
    }

    /// Counts dead letters that had no further attempt.
    pub(super) fn dead(&self, mapping_id: MappingId, at: Timestamp, count: u64) {
        self.update(mapping_id, at, |row| row.dead += count);
    }

    /// Counts an attempt and the state that follows from it.
    pub(super) fn attempted(&self, mapping_id: MappingId, at: Timestamp, took_us: u64, next: Next) {
        self.update(mapping_id, at, |row| {
            row.attempted(took_us);
            match next {
                Next::Delivered => row.delivered += 1,
                Next::Dead { .. } => row.dead += 1,
                Next::Retry { .. } | Next::Discarded | Next::Renewed { .. } => {}
            }
        });
    }

    /// The rows that are not stored yet.
    pub(super) fn unstored(&self) -> Vec<StatisticsRow> {
        self.rows().values().copied().collect()
    }

    /// Subtracts stored rows; counts added since then stay.
    pub(super) fn subtract(&self, stored: &[StatisticsRow]) {
        let mut rows = self.rows();
        for row in stored {
            let key = (MappingId(row.mapping_id), row.minute_at);
            if let Some(unstored) = rows.get_mut(&key) {
                unstored.subtract(row);
                if unstored.is_empty() {
                    rows.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service_time::ServiceTime;

    #[test]
    fn counts_added_while_statistics_are_stored_are_kept() {
        let statistics = MinuteStatistics::default();
        let at = |minute: i64| Timestamp::from_micros(minute * MINUTE_MICROS + 7);
        statistics.accepted(MappingId(1), at(3));
        statistics.attempted(MappingId(1), at(3), 2_000, Next::Delivered);
        statistics.dead(MappingId(2), at(4), 5);
        let retry = Next::Retry { due_at: ServiceTime::default() };
        let stored = statistics.unstored();
        assert_eq!(statistics.unstored().len(), 2, "reading removes nothing");
        statistics.attempted(MappingId(1), at(3), 9_000, retry);
        statistics.subtract(&stored);
        let [left] = statistics.unstored()[..] else { panic!("{:?}", statistics.unstored()) };
        assert_eq!((left.mapping_id, left.accepted, left.delivered), (1, 0, 0));
        assert_eq!((left.attempts, left.attempt_us), (1, 9_000));
        statistics.subtract(&[left]);
        assert!(statistics.unstored().is_empty());
    }
}
