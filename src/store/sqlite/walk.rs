//! Walking a table's keys from the newest down: where a walk begins and ends, and how far one look goes.
//! Keys rise with the time of acceptance, but for what a clock that was set back accepted.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::clock::Timestamp;

/// How far keys may be out of the order of times: requests that are under way at once, and clocks
/// that are corrected.
const SLACK: Duration = Duration::from_secs(600);

/// How many rows one look goes over at most: many where only they are read, fewer where each brings
/// its event, whose body fills pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Deliveries.
    pub deliveries: u32,
    /// Events, and deliveries with their events.
    pub events: u32,
}

impl Default for Look {
    fn default() -> Self {
        Self { deliveries: 50_000, events: 10_000 }
    }
}

/// Where rows stand in the order of their keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The table, with the index that holds the rows and the condition that they meet.
    pub(super) rows: &'static str,
    table: &'static str,
    time: &'static str,
}

/// Keys from `floor` on, below `before`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) floor: i64,
    pub(super) before: i64,
}

impl Bounds {
    /// Between these there is nothing.
    pub(super) const NONE: Self = Self { floor: 0, before: 0 };

    pub(super) const fn only(key: i64) -> Self {
        Self { floor: key, before: key.saturating_add(1) }
    }

    pub(super) const fn hold(&self, key: i64) -> bool {
        self.floor <= key && key < self.before
    }

    /// What is below this key, and the rest.
    pub(super) fn split(self, at: i64) -> (Self, Self) {
        (Self { before: self.before.min(at), ..self }, Self { floor: self.floor.max(at), ..self })
    }

    /// What is between others too.
    pub(super) fn within(self, other: Self) -> Self {
        Self { floor: self.floor.max(other.floor), before: self.before.min(other.before) }
    }
}

/// What a walk is narrowed to by cursor and time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) before: Option<i64>,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Walk {
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

    /// The keys between which everything of the span lies.
    pub(super) async fn bounds(
        &self,
        conn: &mut SqliteConnection,
        span: Span,
    ) -> Result<Bounds, sqlx::Error> {
        let mut bounds = Bounds { floor: 0, before: span.before.unwrap_or(i64::MAX) };
        if let Some(until) = span.until {
            bounds.before = bounds.before.min(self.key_at(conn, until + SLACK).await?);
        }
        if let Some(from) = span.from {
            bounds.floor = self.key_at(conn, from - SLACK).await?;
        }
        Ok(bounds)
    }

    /// The first key that is not from before this time, by halving.
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

    /// The last key of a look over so many rows, with its time; none when the look takes in all.
    pub(super) async fn end_of_look(
        &self,
        conn: &mut SqliteConnection,
        bounds: Bounds,
        rows: u32,
    ) -> Result<Option<(i64, Timestamp)>, sqlx::Error> {
        let sql = format!(
            "SELECT id, {} FROM {} AND id < ? AND id >= ? ORDER BY id DESC LIMIT 2 OFFSET ?",
            self.time, self.rows
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(bounds.before)
            .bind(bounds.floor)
            .bind(i64::from(rows.max(1)) - 1)
            .fetch_all(conn)
            .await?;
        // Without a row beyond it, it is the end of all.
        let [end, _beyond] = found.as_slice() else { return Ok(None) };
        Ok(Some((end.try_get(0)?, Timestamp::from_micros(end.try_get(1)?))))
    }
}
