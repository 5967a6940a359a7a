//! Keyset pagination: scans of a table from its newest key down, and how many rows one query scans. Keys rise
//! with the time of acceptance, except for rows accepted after the clock was set back.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::clock::Timestamp;
use crate::store::statement::{KeyRange, Span};

/// How far the order of keys may differ from the order of times: concurrent requests and clock
/// corrections.
const SLACK: Duration = Duration::from_secs(600);

/// A table, or the rows of one of its indexes, in the order of keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// The table, with an index and the condition of its rows.
    pub(super) rows: &'static str,
    table: &'static str,
    time: &'static str,
}

impl Scan {
    pub(super) const EVENTS: Self = Self::events("events NOT INDEXED WHERE TRUE");
    pub(super) const REJECTED: Self =
        Self::events("events INDEXED BY events_rejected WHERE rejection IS NOT NULL");

    const fn events(rows: &'static str) -> Self {
        Self { rows, table: "events", time: "received_at" }
    }

    pub(super) const ATTEMPTS: Self =
        Self { rows: "attempts NOT INDEXED WHERE TRUE", table: "attempts", time: "recorded_at" };

    pub(super) const fn deliveries(rows: &'static str) -> Self {
        Self { rows, table: "deliveries", time: "accepted_at" }
    }

    /// The keys of all rows of the span.
    pub(super) async fn range(
        &self,
        conn: &mut SqliteConnection,
        span: Span,
    ) -> Result<KeyRange, sqlx::Error> {
        let mut range = KeyRange { floor: 0, before: span.before.unwrap_or(i64::MAX) };
        if let Some(until) = span.until {
            range.before = range.before.min(self.key_at(conn, until + SLACK).await?);
        }
        if let Some(from) = span.from {
            range.floor = self.key_at(conn, from - SLACK).await?;
        }
        Ok(range)
    }

    /// The first key that is not older than this time, by binary search.
    async fn key_at(&self, conn: &mut SqliteConnection, at: Timestamp) -> Result<i64, sqlx::Error> {
        let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {}", self.table);
        let mut high: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await?;
        let (table, time) = (self.table, self.time);
        let sql = format!("SELECT id, {time} FROM {table} WHERE id >= ? ORDER BY id LIMIT 1");
        let mut low: i64 = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            let found =
                sqlx::query(AssertSqlSafe(sql.as_str())).bind(middle).fetch_optional(&mut *conn);
            match found.await? {
                Some(row) if row.try_get::<i64, _>(1)? < at.as_micros() => {
                    low = row.try_get::<i64, _>(0)? + 1;
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// The last key of a scan over so many rows, with its time; none when the scan reaches the end.
    pub(super) async fn end_of_scan(
        &self,
        conn: &mut SqliteConnection,
        range: KeyRange,
        rows: u32,
    ) -> Result<Option<(i64, Timestamp)>, sqlx::Error> {
        let sql = format!(
            "SELECT id, {} FROM {} AND id < ? AND id >= ? ORDER BY id DESC LIMIT 2 OFFSET ?",
            self.time, self.rows
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(range.before)
            .bind(range.floor)
            .bind(i64::from(rows.max(1)) - 1)
            .fetch_all(conn)
            .await?;
        // Without a row beyond it, the scan reaches the end.
        let [end, _beyond] = found.as_slice() else { return Ok(None) };
        Ok(Some((end.try_get(0)?, Timestamp::from_micros(end.try_get(1)?))))
    }
}
