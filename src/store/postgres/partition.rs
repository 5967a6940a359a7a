//! Partitions of a day, made ahead. A row whose day has none goes to the default partition, and is not lost.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};

use super::keys::first_key_at;
use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Today's, and those of the days after it.
const DAYS_AHEAD: u32 = 2;

/// The tables that are partitioned by key.
pub(super) const TABLES: [&str; 4] = ["events", "settled", "attempts", "batches"];

/// Makes one table's partition of one day, if it is missing. Where the default partition has rows of the day
/// already, it keeps that day.
#[derive(Debug)]
pub(super) struct MakeDay {
    pub(super) table: &'static str,
    pub(super) day: Timestamp,
}

/// The days whose partitions there should be.
pub(super) fn days(now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let today = now.start_of(DAY_MICROS);
    (0..=DAYS_AHEAD).map(move |number| today + DAY * number)
}

#[async_trait]
impl Step for MakeDay {
    type Answer = ();
    const CONTEXT: &'static str = "make a partition";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let day = self.day.to_iso().get(..10).unwrap_or_default().replace('-', "");
        let (table, name) = (self.table, format!("{}_{day}", self.table));
        let (from, until) = (first_key_at(self.day), first_key_at(self.day + DAY));
        let exists: bool = tx
            .one("SELECT to_regclass($1) IS NOT NULL", params![name.as_str()], |row| {
                Ok(row.try_get(0)?)
            })
            .await?;
        if exists || from == until {
            return Ok(());
        }
        let taken: bool = {
            let sql =
                format!("SELECT EXISTS (SELECT 1 FROM {table}_default WHERE id >= $1 AND id < $2)");
            tx.one(AssertSqlSafe(sql), params![from, until], |row| Ok(row.try_get(0)?)).await?
        };
        if !taken {
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table}
                 FOR VALUES FROM ({from}) TO ({until})"
            );
            tx.execute(AssertSqlSafe(sql), params![]).await?;
        }
        Ok(())
    }
}
