//! Rows of statistics, by minute and by hour, and of levels.

use super::{Columns, Row, count, int};
use crate::store::failure::Failure;
use crate::store::{BacklogSample, StatisticsRow};

/// The columns that are added up, in the order of [`statistics_values`].
pub(crate) const COUNTED: [&str; 18] = [
    "accepted",
    "attempts",
    "delivered",
    "dead",
    "failed",
    "attempt_us",
    "took_0",
    "took_1",
    "took_2",
    "took_3",
    "took_4",
    "took_5",
    "took_6",
    "took_7",
    "took_8",
    "took_9",
    "took_10",
    "took_11",
];

/// The counters of a row.
pub(crate) fn statistics_values(row: &StatisticsRow) -> impl Iterator<Item = i64> {
    let sums = [row.accepted, row.attempts, row.delivered, row.dead, row.failed, row.attempt_us];
    sums.into_iter().chain(row.latencies).map(int)
}

/// A minute or an hour, a mapping, and the columns of [`COUNTED`].
pub(crate) fn statistics<'a>(row: impl Into<Row<'a>>) -> Result<StatisticsRow, Failure> {
    let mut from = Columns::from(row, 0);
    let (minute_at, mapping_id) = (from.at()?, from.take()?);
    let mut next = || from.take::<i64>().map(count);
    let mut read = StatisticsRow {
        minute_at,
        mapping_id,
        accepted: next()?,
        attempts: next()?,
        delivered: next()?,
        dead: next()?,
        failed: next()?,
        attempt_us: next()?,
        ..StatisticsRow::default()
    };
    for latency in &mut read.latencies {
        *latency = next()?;
    }
    Ok(read)
}

/// A level: its time, and how many deliveries were waiting and dead.
pub(crate) fn level<'a>(row: impl Into<Row<'a>>) -> Result<BacklogSample, Failure> {
    let mut from = Columns::from(row, 0);
    let (at, waiting, dead) = (from.at()?, from.take()?, from.take()?);
    Ok(BacklogSample { at, waiting: count(waiting), dead: count(dead) })
}
