//! Sums of statistics: how long minutes, hours and levels are kept, and rolled-up rows together with those that are not
//! rolled up yet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::statistics::{StatisticsQuery, StatisticsRow};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;

pub(super) const HOUR_MICROS: i64 = 3_600_000_000;
/// How long minutes are kept.
pub(super) const MINUTES_KEPT: Duration = Duration::from_secs(14 * 24 * 3_600);
/// How long hours are kept.
pub(super) const HOURS_KEPT: Duration = Duration::from_secs(400 * 24 * 3_600);
/// How long levels are kept.
pub(super) const LEVELS_KEPT: Duration = Duration::from_secs(40 * 24 * 3_600);

/// What rows are grouped by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Time,
    Mapping,
}

impl By {
    /// What identifies the group of a row.
    fn key(self, row: &StatisticsRow) -> (Timestamp, i64) {
        match self {
            Self::Time => (row.minute_at, 0),
            Self::Mapping => (Timestamp::from_micros(0), row.mapping_id),
        }
    }
}

/// The sums of rolled-up rows and of logged ones that meet the query.
pub(super) fn sums(
    query: &StatisticsQuery,
    by: By,
    rolled_up: Vec<StatisticsRow>,
    logged: Vec<StatisticsRow>,
) -> Vec<StatisticsRow> {
    let mut sums: BTreeMap<(Timestamp, i64), StatisticsRow> =
        rolled_up.into_iter().map(|row| (by.key(&row), row)).collect();
    for mut row in logged {
        if query.hours {
            row.minute_at = row.minute_at.start_of(HOUR_MICROS);
        }
        let is_within = (query.from..query.until).contains(&row.minute_at);
        if is_within && query.mappings.contains(&MappingId(row.mapping_id)) {
            let (_, mapping_id) = by.key(&row);
            let none =
                StatisticsRow { minute_at: row.minute_at, mapping_id, ..StatisticsRow::default() };
            sums.entry(by.key(&row)).or_insert(none).add(&row);
        }
    }
    sums.into_values().collect()
}
