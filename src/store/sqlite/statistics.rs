//! Statistics: counters by minute and by hour, and levels: how many deliveries were waiting and dead at the
//! end of a minute.

use std::ops::Range;
use std::time::Duration;

use rusqlite::{ToSql, params};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, QueryBuilder, Sqlite};

use super::service_time;
use super::writer::step::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;
use crate::store::row::{self, COUNTED, int, statistics_values};
use crate::store::statistics_counts::{MINUTE_MICROS, unpack};
use crate::store::statistics_sums::{By, HOUR_MICROS, HOURS_KEPT, LEVELS_KEPT, MINUTES_KEPT, sums};
use crate::store::{BacklogSample, StatisticsQuery, StatisticsRow};

/// `failed` of a row that an earlier version wrote.
const FAILED: &str = "coalesce(failed, max(attempts - delivered, 0))";

/// A stored counter.
fn stored(column: &'static str) -> &'static str {
    if column == "failed" { FAILED } else { column }
}

/// Moves the oldest rows of the statistics log to their minutes and hours.
pub(super) struct RollUp {
    pub(super) limit: u32,
}

impl Step for RollUp {
    type Answer = Vec<StatisticsRow>;
    const CONTEXT: &'static str = "roll up statistics";

    fn bulk_rows(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StatisticsRow>, Failure> {
        let rows = tx.statistics.oldest(self.bulk_rows());
        if rows.is_empty() {
            return Ok(rows);
        }
        let (minutes, hours) = (addition("statistics"), addition("statistics_hours"));
        for row in &rows {
            add(tx, &minutes, row.minute_at, row)?;
            add(tx, &hours, row.minute_at.start_of(HOUR_MICROS), row)?;
        }
        tx.statistics.remove(tx.sqlite, &rows)?;
        Ok(rows)
    }
}

/// The statement that adds a row's counters.
fn addition(table: &'static str) -> String {
    let columns = COUNTED.join(", ");
    let marks = ", ?".repeat(COUNTED.len());
    let sums = COUNTED.map(|it| format!("{it} = {} + excluded.{it}", stored(it))).join(", ");
    format!(
        "INSERT INTO {table} (minute_at, mapping_id, {columns}) VALUES (?, ?{marks})
         ON CONFLICT (minute_at, mapping_id) DO UPDATE SET {sums}"
    )
}

/// What is older is no longer kept.
fn expired_before(tx: &Tx<'_>, kept: Duration) -> rusqlite::Result<Timestamp> {
    service_time::wall_before(tx, tx.clock.service_now() - kept)
}

fn add(
    tx: &Tx<'_>,
    addition: &str,
    minute_at: Timestamp,
    row: &StatisticsRow,
) -> rusqlite::Result<()> {
    let counts: Vec<i64> = statistics_values(row).collect();
    let minute_at = minute_at.as_micros();
    let mut bound: Vec<&dyn ToSql> = vec![&minute_at, &row.mapping_id];
    bound.extend(counts.iter().map(|it| it as &dyn ToSql));
    tx.execute(addition, &bound).map(|_| ())
}

/// Prunes minutes and hours past their retention.
pub(super) struct PruneStatistics;

impl Step for PruneStatistics {
    type Answer = ();
    const CONTEXT: &'static str = "prune statistics";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for (table, kept) in [("statistics", MINUTES_KEPT), ("statistics_hours", HOURS_KEPT)] {
            let sql = format!("DELETE FROM {table} WHERE minute_at < ?");
            tx.execute(&sql, params![expired_before(tx, kept)?.as_micros()])?;
        }
        Ok(())
    }
}

/// Saves how many deliveries are waiting and dead now, if that has changed.
pub(super) struct NoteLevel {
    pub(super) now: Timestamp,
}

impl Step for NoteLevel {
    type Answer = ();
    const CONTEXT: &'static str = "save the level";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let ledger = tx.state.ledger;
        // A row equal to the newest one is not written; a clock that was set back leaves newer rows.
        tx.execute(
            "INSERT INTO levels (minute_at, waiting, dead) SELECT ?1, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM levels
                 WHERE minute_at = (SELECT max(minute_at) FROM levels)
                     AND waiting = ?2 AND dead = ?3)
             ON CONFLICT (minute_at) DO UPDATE SET waiting = ?2, dead = ?3",
            params![
                self.now.start_of(MINUTE_MICROS).as_micros(),
                int(ledger.waiting()),
                int(ledger.dead_letters())
            ],
        )?;
        // The newest of the expired rows is the level up to the first of the others.
        tx.execute(
            "DELETE FROM levels
             WHERE minute_at < (SELECT max(minute_at) FROM levels WHERE minute_at < ?)",
            params![expired_before(tx, LEVELS_KEPT)?.as_micros()],
        )?;
        Ok(())
    }
}

/// The level at the start, then at the end of each step in which it changed.
pub(super) async fn levels(
    conn: &mut SqliteConnection,
    span: Range<Timestamp>,
    step: Duration,
) -> Result<Vec<BacklogSample>, Failure> {
    // With max(), SQLite takes the other columns from the row that has the maximum.
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
    found.iter().map(row::level).collect()
}

/// The sums of the rows of some mappings, those of the statistics log included.
pub(super) async fn statistics(
    conn: &mut SqliteConnection,
    query: &StatisticsQuery,
    by: By,
) -> Result<Vec<StatisticsRow>, Failure> {
    // One snapshot: a roll-up moves rows from one to the other.
    let mut snapshot = conn.begin().await?;
    let rolled_up = rolled_up_sums(&mut snapshot, query, by).await?;
    let logged = logged(&mut snapshot).await?;
    Ok(sums(query, by, rolled_up, logged))
}

/// The rows of the statistics log.
async fn logged(conn: &mut SqliteConnection) -> Result<Vec<StatisticsRow>, Failure> {
    const LOG: &str = "SELECT statistics FROM ledger UNION ALL SELECT counts FROM statistics_log";
    let packed: Vec<Vec<u8>> = sqlx::query_scalar(LOG).fetch_all(conn).await?;
    Ok(packed.iter().flat_map(|counts| unpack(counts)).collect())
}

async fn rolled_up_sums(
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
        sql.push(format!(", sum({})", stored(column)));
    }
    sql.push(format!(" FROM {table} WHERE minute_at >= ")).push_bind(query.from.as_micros());
    sql.push(" AND minute_at < ").push_bind(query.until.as_micros());
    // As JSON, because there may be more ids than a statement takes parameters.
    let ids: Vec<i64> = query.mappings.iter().map(|id| id.0).collect();
    sql.push(" AND mapping_id IN (SELECT value FROM json_each(");
    sql.push_bind(serde_json::Value::from(ids).to_string());
    sql.push(format!(")) GROUP BY {group}"));
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::statistics).collect()
}

/// The rolled-up rows from this minute on that have attempts or dead letters.
pub(super) async fn rolled_up(
    conn: &mut SqliteConnection,
    since: Timestamp,
) -> Result<Vec<StatisticsRow>, Failure> {
    let columns = COUNTED.map(stored).join(", ");
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT minute_at, mapping_id, {columns} FROM statistics
         WHERE (attempts > 0 OR dead > 0) AND minute_at >= "
    ));
    sql.push_bind(since.start_of(MINUTE_MICROS).as_micros());
    let found = sql.build().fetch_all(conn).await?;
    found.iter().map(row::statistics).collect()
}
