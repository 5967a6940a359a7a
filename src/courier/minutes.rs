//! Statistics by mapping and minute, in memory until a duty stores them. A crash loses the minutes not
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

    /// Everything gathered so far; a later call gives only what came since.
    pub(super) fn take(&self) -> Vec<StatisticsRow> {
        std::mem::take(&mut *self.rows()).into_values().collect()
    }
}
