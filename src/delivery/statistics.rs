//! Statistics by mapping and minute, in memory until a duty has stored them. A crash loses the minutes not
//! yet stored; the ledger and the attempts lose nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::retry::Next;
use crate::store::StatisticsRow;

const MINUTE_MICROS: i64 = 60_000_000;

#[derive(Debug, Default)]
pub(super) struct Minutes(Mutex<HashMap<(MappingId, Timestamp), StatisticsRow>>);

impl Minutes {
    fn rows(&self) -> MutexGuard<'_, HashMap<(MappingId, Timestamp), StatisticsRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(
        &self,
        mapping_id: MappingId,
        at: Timestamp,
        change: impl FnOnce(&mut StatisticsRow),
    ) {
        let minute_at = at.start_of(MINUTE_MICROS);
        let mut rows = self.rows();
        change(rows.entry((mapping_id, minute_at)).or_insert_with(|| StatisticsRow {
            minute_at,
            mapping_id: mapping_id.0,
            ..StatisticsRow::default()
        }));
    }

    pub(super) fn accepted(&self, mapping_id: MappingId, at: Timestamp) {
        self.change(mapping_id, at, |row| row.accepted += 1);
    }

    /// Deliveries that died without another attempt.
    pub(super) fn died(&self, mapping_id: MappingId, at: Timestamp, count: u64) {
        self.change(mapping_id, at, |row| row.dead += count);
    }

    pub(super) fn attempted(&self, mapping_id: MappingId, at: Timestamp, took_us: u64, next: Next) {
        self.change(mapping_id, at, |row| {
            row.attempted(took_us);
            match next {
                Next::Delivered => row.delivered += 1,
                Next::Dead { .. } => row.dead += 1,
                Next::Retry { .. } | Next::Discarded | Next::Renewed { .. } => {}
            }
        });
    }

    /// What is gathered and not forgotten.
    pub(super) fn gathered(&self) -> Vec<StatisticsRow> {
        self.rows().values().copied().collect()
    }

    /// Forgets what these rows count; what came since stays.
    pub(super) fn forget(&self, counted: &[StatisticsRow]) {
        let mut rows = self.rows();
        for row in counted {
            let key = (MappingId(row.mapping_id), row.minute_at);
            if let Some(held) = rows.get_mut(&key) {
                held.subtract(row);
                if held.is_empty() {
                    rows.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_it_was_stored_is_not_forgotten() {
        let minutes = Minutes::default();
        let at = |minute: i64| Timestamp::from_micros(minute * MINUTE_MICROS + 7);
        minutes.accepted(MappingId(1), at(3));
        minutes.attempted(MappingId(1), at(3), 2_000, Next::Delivered);
        minutes.died(MappingId(2), at(4), 5);
        let stored = minutes.gathered();
        assert_eq!(minutes.gathered().len(), 2, "it stays until it is stored");
        minutes.attempted(MappingId(1), at(3), 9_000, Next::Retry { due_at: at(9) });
        minutes.forget(&stored);
        let [left] = minutes.gathered()[..] else { panic!("{:?}", minutes.gathered()) };
        assert_eq!((left.mapping_id, left.accepted, left.delivered), (1, 0, 0));
        assert_eq!((left.attempts, left.attempt_us), (1, 9_000));
        minutes.forget(&[left]);
        assert!(minutes.gathered().is_empty());
    }
}
