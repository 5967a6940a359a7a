//! Keyset pagination: scans of a table from its newest key down, and how many rows one query scans. Keys carry
//! the service time at which they were given, so that a time bounds a range of keys.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::keys::first_key_at;
use super::service_time;
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
    time: &'static str,
}

impl Scan {
    pub(super) const EVENTS: Self = Self::events("events WHERE TRUE");
    pub(super) const REJECTED: Self = Self::events("events WHERE rejection IS NOT NULL");

    const fn events(rows: &'static str) -> Self {
        Self { rows, time: "received_at" }
    }

    pub(super) const ATTEMPTS: Self = Self { rows: "attempts WHERE TRUE", time: "recorded_at" };

    pub(super) const fn deliveries(rows: &'static str) -> Self {
        Self { rows, time: "accepted_at" }
    }

    /// The keys of all rows of the span.
    pub(super) async fn range(
        &self,
        conn: &mut PgConnection,
        span: Span,
    ) -> Result<KeyRange, sqlx::Error> {
        let before = span.before.unwrap_or(i64::MAX);
        if span.from.is_none() && span.until.is_none() {
            return Ok(KeyRange { floor: 0, before });
        }
        let offsets = service_time::of_wall(conn, SLACK).await?;
        let until = span.until.map_or(i64::MAX, |at| first_key_at(offsets.latest(at)));
        let before = before.min(until);
        let Some(from) = span.from else { return Ok(KeyRange { floor: 0, before }) };
        let floor = first_key_at(offsets.earliest(from));
        Ok(KeyRange { floor: self.floor(conn, floor, from - SLACK).await?, before })
    }

    /// The first key of the rows from `from` on: `floor`, unless rows that were moved from SQLite, whose keys are not
    /// times, are as young. Keys rise with time there too, so that the row below `floor` tells.
    async fn floor(
        &self,
        conn: &mut PgConnection,
        floor: i64,
        from: Timestamp,
    ) -> Result<i64, sqlx::Error> {
        let (rows, time) = (self.rows, self.time);
        let below = format!("SELECT {time} FROM {rows} AND id < $1 ORDER BY id DESC LIMIT 1");
        let below: Option<i64> =
            sqlx::query_scalar(AssertSqlSafe(below)).bind(floor).fetch_optional(&mut *conn).await?;
        if below.is_none_or(|at| at < from.as_micros()) {
            return Ok(floor);
        }
        let (mut low, mut high) = (0, floor);
        let next = format!("SELECT id, {time} FROM {rows} AND id >= $1 ORDER BY id LIMIT 1");
        while low < high {
            let middle = low + (high - low) / 2;
            let found: Option<(i64, i64)> = sqlx::query_as(AssertSqlSafe(next.as_str()))
                .bind(middle)
                .fetch_optional(&mut *conn)
                .await?;
            match found {
                Some((id, at)) if at < from.as_micros() => low = id + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// The last key of a scan over so many rows, with its time; none when the scan reaches the end.
    pub(super) async fn end_of_scan(
        &self,
        conn: &mut PgConnection,
        range: KeyRange,
        rows: u32,
    ) -> Result<Option<(i64, Timestamp)>, sqlx::Error> {
        let sql = format!(
            "SELECT id, {} FROM {} AND id < $1 AND id >= $2 ORDER BY id DESC LIMIT 2 OFFSET $3",
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
