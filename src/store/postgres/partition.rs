//! Partitions of a day, made ahead. A row whose day has none goes to the default partition, and is moved into its
//! day when that is made.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};

use super::keys::first_key_at;
use super::tx::{LONG, Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Today's, and those of the days after it.
const DAYS_AHEAD: u32 = 2;

/// The tables that are partitioned by key.
pub(super) const TABLES: [&str; 4] = ["events", "settled", "attempts", "batches"];

/// Makes the partitions of today and of the days after it that are missing.
#[derive(Debug)]
pub(super) struct MakePartitions {
    pub(super) now: ServiceTime,
}

#[async_trait]
impl Step for MakePartitions {
    type Answer = ();
    const CONTEXT: &'static str = "make partitions";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let days = (0..=DAYS_AHEAD).map(|number| Day::of(self.now + DAY * number));
        let wanted: Vec<(&str, Day)> =
            days.flat_map(|day| TABLES.map(|table| (table, day))).collect();
        let names: Vec<String> = wanted.iter().map(|(table, day)| day.name(table)).collect();
        let missing: Vec<String> = tx
            .all(
                "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL",
                params![names],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        // Every insert queues behind a pending table lock, so the lock has a timeout: the next run retries.
        tx.execute("SET LOCAL lock_timeout = '2s'", params![]).await?;
        for (table, day) in wanted {
            if missing.contains(&day.name(table)) {
                day.make(tx, table).await?;
            }
        }
        Ok(())
    }
}

/// Collects the planner's statistics of the partitioned tables, which the server does not do automatically.
#[derive(Debug)]
pub(super) struct Analyze;

#[async_trait]
impl Step for Analyze {
    type Answer = ();
    const CONTEXT: &'static str = "analyze the partitioned tables";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let sql = format!("ANALYZE (SKIP_LOCKED) {}", TABLES.join(", "));
        tx.execute(AssertSqlSafe(sql), params![]).await?;
        Ok(())
    }
}

/// A day of service time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day(ServiceTime);

impl Day {
    /// The day of a time.
    pub(super) fn of(at: ServiceTime) -> Self {
        let start = at.as_micros().div_euclid(DAY_MICROS) * DAY_MICROS;
        Self(ServiceTime::from_micros(start))
    }

    /// The days that `events` has partitions of, oldest first.
    pub(super) async fn of_events(tx: &mut Tx<'_>) -> Result<Vec<Self>, Failure> {
        let names: Vec<String> = tx
            .all(
                "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'events'::regclass ORDER BY 1",
                params![],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        Ok(names.iter().filter_map(|name| Self::of_name(name)).collect())
    }

    /// The day of a partition's name; none of the default partition's.
    fn of_name(name: &str) -> Option<Self> {
        let (_, day) = name.rsplit_once('_')?;
        let (year, month, day) = (day.get(..4)?, day.get(4..6)?, day.get(6..)?);
        let start = Timestamp::parse_iso(&format!("{year}-{month}-{day}T00:00:00Z"))?;
        Some(Self(ServiceTime::from_micros(start.as_micros())))
    }

    /// The keys of the day.
    pub(super) const fn keys(self) -> Range<i64> {
        let end = ServiceTime::from_micros(self.0.as_micros() + DAY_MICROS);
        first_key_at(self.0)..first_key_at(end)
    }

    /// The name of its partition of a table.
    pub(super) fn name(self, table: &str) -> String {
        let day = Timestamp::from_micros(self.0.as_micros()).to_iso();
        format!("{table}_{}", day.get(..10).unwrap_or_default().replace('-', ""))
    }

    /// Makes its partition of a table, with the rows that the default partition has of it.
    async fn make(self, tx: &mut Tx<'_>, table: &str) -> Result<(), Failure> {
        let (name, default) = (self.name(table), format!("{table}_default"));
        let Range { start: from, end: until } = self.keys();
        if from == until {
            return Ok(());
        }
        for sql in [
            format!("LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE"),
            format!("CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"),
            format!(
                "WITH moved AS (DELETE FROM {default} WHERE id >= {from} AND id < {until} RETURNING *)
                 INSERT INTO {name} SELECT * FROM moved"
            ),
            format!(
                "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({until})"
            ),
        ] {
            tx.execute(AssertSqlSafe(sql), params![]).await?;
        }
        Ok(())
    }
}
