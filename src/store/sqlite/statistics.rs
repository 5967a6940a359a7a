//! Statistics: minutes and the hours that they add up to, each column only rising until it is dropped;
//! and levels, how much waited and was dead at the end of a minute.

use std::ops::Range;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};

use super::failure::Failure;
use super::row::{Columns, count, int};
use super::writer::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::store::{BacklogSample, StatisticsQuery, StatisticsRow};

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

/// Minutes to be added to what is kept.
pub(super) struct AddStatistics(pub(super) Vec<StatisticsRow>);

#[async_trait::async_trait]
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
            let mut sql = QueryBuilder::<Sqlite>::new(format!("DELETE FROM {table}"));
            sql.push(" WHERE minute_at < ").push_bind((newest_at - kept).as_micros());
            sql.build().execute(&mut *tx.conn).await?;
        }
        Ok(())
    }
}

async fn add(
    tx: &mut Tx<'_>,
    table: &'static str,
    minute_at: Timestamp,
    row: &StatisticsRow,
) -> Result<(), sqlx::Error> {
    let mut sql =
        QueryBuilder::<Sqlite>::new(format!("INSERT INTO {table} (minute_at, mapping_id"));
    for column in COUNTED {
        sql.push(", ").push(column);
    }
    sql.push(") VALUES (").push_bind(minute_at.as_micros()).push(", ").push_bind(row.mapping_id);
    for value in values(row) {
        sql.push(", ").push_bind(value);
    }
    sql.push(") ON CONFLICT (minute_at, mapping_id) DO UPDATE SET ");
    for (at, column) in COUNTED.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        sql.push(format!("{comma}{column} = {column} + excluded.{column}"));
    }
    sql.build().execute(&mut *tx.conn).await?;
    Ok(())
}

/// How much waits and is dead now, to be kept for this minute if that is news.
pub(super) struct NoteLevel {
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for NoteLevel {
    type Answer = ();
    const CONTEXT: &'static str = "note how much waits";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let ledger = tx.memory.ledger;
        // What the newest row says already is not said again; a clock set back leaves newer ones.
        sqlx::query(
            "INSERT INTO levels (minute_at, waiting, dead) SELECT ?1, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM levels
                 WHERE minute_at = (SELECT max(minute_at) FROM levels)
                     AND waiting = ?2 AND dead = ?3)
             ON CONFLICT (minute_at) DO UPDATE SET waiting = ?2, dead = ?3",
        )
        .bind(self.now.start_of(MINUTE_MICROS).as_micros())
        .bind(int(ledger.waiting()))
        .bind(int(ledger.dead_letters()))
        .execute(&mut *tx.conn)
        .await?;
        // The last of the old ones tells how it stood until the first of the others.
        sqlx::query(
            "DELETE FROM levels
             WHERE minute_at < (SELECT max(minute_at) FROM levels WHERE minute_at < ?)",
        )
        .bind((self.now - LEVELS_KEPT).as_micros())
        .execute(&mut *tx.conn)
        .await?;
        Ok(())
    }
}

/// The level at the end of each step in which it changed, and before that as it stood at first.
pub(super) async fn levels(
    conn: &mut SqliteConnection,
    span: Range<Timestamp>,
    step: Duration,
) -> Result<Vec<BacklogSample>, Failure> {
    // Beside max() the other columns are those of the row that has it.
    let found = sqlx::query(
        "SELECT minute_at / ?3 * ?3 AS step, waiting, dead, max(minute_at) FROM levels
         WHERE minute_at < ?2 AND minute_at >= coalesce(
             (SELECT max(minute_at) FROM levels WHERE minute_at <= ?1), ?1)
         GROUP BY step ORDER BY step",
    )
    .bind(span.start.as_micros())
    .bind(span.end.as_micros())
    .bind(i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1))
    .fetch_all(conn)
    .await?;
    let read = |row: &SqliteRow| -> Result<BacklogSample, Failure> {
        let mut from = Columns::from(row, 0);
        let (at, waiting, dead) = (from.at()?, from.take()?, from.take()?);
        Ok(BacklogSample { at, waiting: count(waiting), dead: count(dead) })
    };
    found.iter().map(read).collect()
}

/// What rows are added up by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Time,
    Mapping,
}

/// Rows of some mappings, added up.
pub(super) async fn statistics(
    conn: &mut SqliteConnection,
    query: &StatisticsQuery,
    by: By,
) -> Result<Vec<StatisticsRow>, Failure> {
    let table = if query.hours { "statistics_hours" } else { "statistics" };
    let (told, group) = match by {
        By::Time => ("minute_at, 0", "minute_at"),
        By::Mapping => ("min(minute_at), mapping_id", "mapping_id"),
    };
    let mut sql = QueryBuilder::<Sqlite>::new(format!("SELECT {told}"));
    for column in COUNTED {
        sql.push(format!(", sum({column})"));
    }
    sql.push(format!(" FROM {table} WHERE minute_at >= ")).push_bind(query.from.as_micros());
    sql.push(" AND minute_at < ").push_bind(query.until.as_micros());
    // As JSON, because there may be more ids than a statement takes parameters.
    let ids: Vec<i64> = query.mappings.iter().map(|id| id.0).collect();
    sql.push(" AND mapping_id IN (SELECT value FROM json_each(");
    sql.push_bind(serde_json::Value::from(ids).to_string());
    sql.push(format!(")) GROUP BY {group} ORDER BY {group}"));
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<StatisticsRow, Failure> {
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
