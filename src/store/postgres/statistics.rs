//! Statistics: counters by minute and by hour, and levels: how many deliveries were waiting and dead at the
//! end of a minute.

use std::ops::Range;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Postgres, QueryBuilder};

use super::ledger;
use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;
use crate::store::row::{Columns, count, int};
use crate::store::{BacklogSample, StatisticsQuery, StatisticsRow};
use async_trait::async_trait;

const MINUTE_MICROS: i64 = 60_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;
/// How long minutes are kept.
const MINUTES_KEPT: Duration = Duration::from_secs(14 * 24 * 3_600);
/// How long hours are kept.
const HOURS_KEPT: Duration = Duration::from_secs(400 * 24 * 3_600);

/// How long levels are kept.
const LEVELS_KEPT: Duration = Duration::from_secs(40 * 24 * 3_600);

/// The columns that are added up, in the order of [`values`].
const COUNTED: [&str; 17] = [
    "accepted",
    "attempts",
    "delivered",
    "dead",
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

fn values(row: &StatisticsRow) -> impl Iterator<Item = i64> {
    let sums = [row.accepted, row.attempts, row.delivered, row.dead, row.attempt_us];
    sums.into_iter().chain(row.latencies).map(int)
}

/// Adds counts to their minutes and hours.
pub(super) struct AddStatistics(pub(super) Vec<StatisticsRow>);

#[async_trait]
impl Step for AddStatistics {
    type Answer = ();
    const CONTEXT: &'static str = "add statistics";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let Some(newest_at) = self.0.iter().map(|row| row.minute_at).max() else { return Ok(()) };
        for row in &self.0 {
            let hour_at = row.minute_at.start_of(HOUR_MICROS);
            add(tx, "statistics", row.minute_at, row).await?;
            add(tx, "statistics_hours", hour_at, row).await?;
        }
        for (table, kept) in [("statistics", MINUTES_KEPT), ("statistics_hours", HOURS_KEPT)] {
            let sql = format!("DELETE FROM {table} WHERE minute_at < $1");
            tx.execute(AssertSqlSafe(sql), params![(newest_at - kept).as_micros()]).await?;
        }
        Ok(())
    }
}

async fn add(
    tx: &mut Tx<'_>,
    table: &'static str,
    minute_at: Timestamp,
    row: &StatisticsRow,
) -> Result<(), Failure> {
    let columns = COUNTED.join(", ");
    let marks: String = (0..COUNTED.len()).map(|number| format!(", ${}", number + 3)).collect();
    let sums =
        COUNTED.map(|column| format!("{column} = t.{column} + excluded.{column}")).join(", ");
    let sql = format!(
        "INSERT INTO {table} AS t (minute_at, mapping_id, {columns}) VALUES ($1, $2{marks})
         ON CONFLICT (minute_at, mapping_id) DO UPDATE SET {sums}"
    );
    let mut bound = params![minute_at.as_micros(), row.mapping_id];
    for count in values(row) {
        bound.push(count);
    }
    tx.execute(AssertSqlSafe(sql), bound).await.map(|_| ())
}

/// Saves how many deliveries are waiting and dead now, if that has changed.
pub(super) struct NoteLevel {
    pub(super) now: Timestamp,
}

#[async_trait]
impl Step for NoteLevel {
    type Answer = ();
    const CONTEXT: &'static str = "save the level";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let ledger = ledger::read(tx.conn).await?;
        // A row equal to the newest one is not written; a clock that was set back leaves newer rows.
        tx.execute(
            "INSERT INTO levels (minute_at, waiting, dead) SELECT $1::bigint, $2::bigint, $3::bigint
             WHERE NOT EXISTS (SELECT 1 FROM levels
                 WHERE minute_at = (SELECT max(minute_at) FROM levels)
                     AND waiting = $2 AND dead = $3)
             ON CONFLICT (minute_at) DO UPDATE SET waiting = $2, dead = $3",
            params![
                self.now.start_of(MINUTE_MICROS).as_micros(),
                int(ledger.waiting()),
                int(ledger.dead_letters())
            ],
        ).await?;
        // The newest of the expired rows is the level up to the first of the others.
        tx.execute(
            "DELETE FROM levels
             WHERE minute_at < (SELECT max(minute_at) FROM levels WHERE minute_at < $1)",
            params![(self.now - LEVELS_KEPT).as_micros()],
        )
        .await?;
        Ok(())
    }
}

/// The level at the start, then at the end of each step in which it changed.
pub(super) async fn levels(
    conn: &mut PgConnection,
    span: Range<Timestamp>,
    step: Duration,
) -> Result<Vec<BacklogSample>, Failure> {
    let found = sqlx::query(
        "SELECT DISTINCT ON (step) minute_at / $3 * $3 AS step, waiting, dead FROM levels
         WHERE minute_at < $2 AND minute_at >= coalesce(
             (SELECT max(minute_at) FROM levels WHERE minute_at <= $1), $1)
         ORDER BY step, minute_at DESC",
    )
    .bind(span.start.as_micros())
    .bind(span.end.as_micros())
    .bind(i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1))
    .fetch_all(conn)
    .await?;
    let read = |row: &PgRow| -> Result<BacklogSample, Failure> {
        let mut from = Columns::from(row, 0);
        let (at, waiting, dead) = (from.at()?, from.take()?, from.take()?);
        Ok(BacklogSample { at, waiting: count(waiting), dead: count(dead) })
    };
    found.iter().map(read).collect()
}

/// What rows are grouped by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Time,
    Mapping,
}

/// The sums of the rows of some mappings.
pub(super) async fn statistics(
    conn: &mut PgConnection,
    query: &StatisticsQuery,
    by: By,
) -> Result<Vec<StatisticsRow>, Failure> {
    let table = if query.hours { "statistics_hours" } else { "statistics" };
    let (told, group) = match by {
        By::Time => ("minute_at, 0::bigint", "minute_at"),
        By::Mapping => ("min(minute_at), mapping_id", "mapping_id"),
    };
    let mut sql = QueryBuilder::<Postgres>::new(format!("SELECT {told}"));
    for column in COUNTED {
        sql.push(format!(", sum({column})::bigint"));
    }
    sql.push(format!(" FROM {table} WHERE minute_at >= ")).push_bind(query.from.as_micros());
    sql.push(" AND minute_at < ").push_bind(query.until.as_micros());
    let ids: Vec<i64> = query.mappings.iter().map(|id| id.0).collect();
    sql.push(" AND mapping_id = ANY (").push_bind(ids);
    sql.push(format!(") GROUP BY {group} ORDER BY {group}"));
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<StatisticsRow, Failure> {
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
        attempt_us: next()?,
        ..StatisticsRow::default()
    };
    for latency in &mut read.latencies {
        *latency = next()?;
    }
    Ok(read)
}
