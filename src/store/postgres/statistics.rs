//! Statistics: counters by minute and by hour, and levels: how many deliveries were waiting and dead at the
//! end of a minute.

use std::ops::Range;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Postgres, QueryBuilder};

use super::tx::{Step, Tx, params};
use super::{counts, ledger, service_time};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;
use crate::store::row::{self, COUNTED, Columns, int, statistics_values};
use crate::store::statistics_counts::{MINUTE_MICROS, Rows, merge, pack, unpack};
use crate::store::statistics_sums::{By, HOUR_MICROS, HOURS_KEPT, LEVELS_KEPT, MINUTES_KEPT, sums};
use crate::store::{BacklogSample, StatisticsQuery, StatisticsRow};
use async_trait::async_trait;

/// Rows of the statistics log that one roll-up reads.
const LOG_ROWS: i64 = 10_000;
/// Those that another roll-up has locked are its own.
const OLDEST: &str =
    "SELECT id, counts FROM statistics_log ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";

/// Moves the oldest counts of the statistics log to their minutes and hours.
pub(super) struct RollUp {
    pub(super) limit: u32,
}

#[async_trait]
impl Step for RollUp {
    type Answer = Vec<StatisticsRow>;
    const CONTEXT: &'static str = "roll up statistics";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StatisticsRow>, Failure> {
        counts::fold(tx.conn, tx.clock.now()).await?;
        let read = |row: &PgRow| {
            let mut from = Columns::from(row, 0);
            Ok((from.take::<i64>()?, from.take::<Vec<u8>>()?))
        };
        let (mut ids, mut rows) = (Vec::new(), Rows::new());
        for (id, counts) in tx.all(OLDEST, params![LOG_ROWS], read).await? {
            ids.push(id);
            merge(&mut rows, unpack(&counts));
        }
        let mut rows: Vec<StatisticsRow> = rows.into_values().collect();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).min(rows.len());
        let left = rows.split_off(limit);
        for row in &rows {
            add(tx, "statistics", row.minute_at, row).await?;
        }
        // In the order of their keys, so that two roll-ups do not wait for each other.
        let mut hours = Rows::new();
        merge(
            &mut hours,
            rows.iter().map(|row| StatisticsRow {
                minute_at: row.minute_at.start_of(HOUR_MICROS),
                ..*row
            }),
        );
        for row in hours.values() {
            add(tx, "statistics_hours", row.minute_at, row).await?;
        }
        tx.execute("DELETE FROM statistics_log WHERE id = ANY ($1)", params![ids]).await?;
        if !left.is_empty() {
            let mut packed = Vec::new();
            left.iter().for_each(|row| pack(row, &mut packed));
            tx.execute("INSERT INTO statistics_log (counts) VALUES ($1)", params![packed]).await?;
        }
        Ok(rows)
    }
}

/// What is older is no longer kept.
async fn expired_before(tx: &mut Tx<'_>, kept: Duration) -> Result<Timestamp, Failure> {
    let before = tx.clock.service_now() - kept;
    service_time::wall_before(tx, before).await
}

/// Prunes minutes and hours past their retention.
pub(super) struct PruneStatistics;

#[async_trait]
impl Step for PruneStatistics {
    type Answer = ();
    const CONTEXT: &'static str = "prune statistics";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for (table, kept) in [("statistics", MINUTES_KEPT), ("statistics_hours", HOURS_KEPT)] {
            let before = expired_before(tx, kept).await?;
            let sql = format!("DELETE FROM {table} WHERE minute_at < $1");
            tx.execute(AssertSqlSafe(sql), params![before.as_micros()]).await?;
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
    for count in statistics_values(row) {
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
        let before = expired_before(tx, LEVELS_KEPT).await?;
        // The newest of the expired rows is the level up to the first of the others.
        tx.execute(
            "DELETE FROM levels
             WHERE minute_at < (SELECT max(minute_at) FROM levels WHERE minute_at < $1)",
            params![before.as_micros()],
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
    found.iter().map(row::level).collect()
}

/// The sums of the rows of some mappings, those of the statistics log included.
pub(super) async fn statistics(
    conn: &mut PgConnection,
    query: &StatisticsQuery,
    by: By,
) -> Result<Vec<StatisticsRow>, Failure> {
    // One snapshot: a roll-up moves rows from one to the other.
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let rolled_up = rolled_up_sums(&mut snapshot, query, by).await?;
    let logged = logged(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(sums(query, by, rolled_up, logged))
}

/// The rows of the statistics log.
async fn logged(conn: &mut PgConnection) -> Result<Vec<StatisticsRow>, Failure> {
    let packed: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT counts FROM statistics_log").fetch_all(conn).await?;
    Ok(packed.iter().flat_map(|counts| unpack(counts)).collect())
}

/// The rolled-up rows from this minute on that have attempts or dead letters.
pub(super) async fn rolled_up(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<StatisticsRow>, Failure> {
    let columns = COUNTED.join(", ");
    let sql = format!(
        "SELECT minute_at, mapping_id, {columns} FROM statistics
         WHERE (attempts > 0 OR dead > 0) AND minute_at >= $1"
    );
    let since = since.start_of(MINUTE_MICROS).as_micros();
    let found = sqlx::query(AssertSqlSafe(sql)).bind(since).fetch_all(conn).await?;
    found.iter().map(row::statistics).collect()
}

async fn rolled_up_sums(
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
    found.iter().map(row::statistics).collect()
}
