//! Statistics by mapping and minute, in memory until a duty has stored them. A crash loses the minutes not
//! yet stored; the ledger and the attempts lose nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
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
        let start = at.as_micros().div_euclid(MINUTE_MICROS) * MINUTE_MICROS;
        let minute_at = Timestamp::from_micros(start);
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
