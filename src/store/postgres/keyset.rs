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

/// The keys of all rows of the span.
pub(super) async fn range(conn: &mut PgConnection, span: Span) -> Result<KeyRange, sqlx::Error> {
    let before = span.before.unwrap_or(i64::MAX);
    if span.from.is_none() && span.until.is_none() {
        return Ok(KeyRange { floor: 0, before });
    }
    let offsets = service_time::of_wall(conn, SLACK).await?;
    let until = span.until.map_or(i64::MAX, |at| first_key_at(offsets.latest(at)));
    let floor = span.from.map_or(0, |at| first_key_at(offsets.earliest(at)));
    Ok(KeyRange { floor, before: before.min(until) })
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
