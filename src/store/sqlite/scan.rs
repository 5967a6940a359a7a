//! Scans of events and deliveries by key: the statements of lists, the index each uses, and how far one query
//! scans.

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::keyset::Scan;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::StoredEvent;
use crate::domain::id::EventId;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::{self, KeyRange};
use crate::store::{DeliveryQuery, DeliveryRow, EventQuery, Listed};

/// The rows of `deliveries` in a state, by the index that contains them.
pub(super) fn candidates(state: Option<State>) -> &'static str {
    match state {
        Some(State::Pending) => "deliveries INDEXED BY deliveries_pending WHERE state = 'pending'",
        Some(State::Leased) => "deliveries INDEXED BY deliveries_leased WHERE state = 'leased'",
        Some(State::Dead) => "deliveries INDEXED BY deliveries_dead WHERE state = 'dead'",
        Some(State::Delivered) => "deliveries NOT INDEXED WHERE state = 'delivered'",
        Some(State::Discarded) => "deliveries NOT INDEXED WHERE state = 'discarded'",
        None => "deliveries NOT INDEXED WHERE TRUE",
    }
}

/// The dead letters with this reason, by the index that contains them in the order of keys.
pub(super) const fn dead_for(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'rejected'"
        }
        Reason::Redirect => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'redirect'"
        }
        Reason::Render => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'render'"
        }
        Reason::Address => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'address'"
        }
        Reason::Function => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'function'"
        }
        Reason::Deadline => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'deadline'"
        }
        Reason::Removed => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'removed'"
        }
    }
}

/// Scans the events of a range, up to the limit.
pub(super) async fn scan_events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    scan: Scan,
    range: KeyRange,
    limits: ScanLimits,
) -> Result<Listed<StoredEvent>, Failure> {
    let end = scan.end_of_scan(conn, range, limits.events).await?;
    let floor = end.map_or(range.floor, |(id, _)| id);
    let rows = read_events(conn, query, scan, KeyRange { floor, ..range }).await?;
    Ok(Listed::of_scan(rows, query.limit, end, range.floor))
}

/// The events of a range.
pub(super) async fn read_events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<StoredEvent>, Failure> {
    let mut sql: QueryBuilder<Sqlite> = statement::events(query, scan.rows, range);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::event).collect()
}

/// Scans the deliveries of a range, up to the limit.
pub(super) async fn scan_deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    scan: Scan,
    range: KeyRange,
    limits: ScanLimits,
) -> Result<Listed<DeliveryRow>, Failure> {
    let rows = if query.event.are_none() { limits.deliveries } else { limits.events };
    let end = scan.end_of_scan(conn, range, rows).await?;
    let floor = end.map_or(range.floor, |(id, _)| id);
    let rows = read_deliveries(conn, query, scan, KeyRange { floor, ..range }).await?;
    Ok(Listed::of_scan(rows, query.limit, end, range.floor))
}

/// The deliveries of a range.
pub(super) async fn read_deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<DeliveryRow>, Failure> {
    let mut sql = statement::deliveries::<QueryBuilder<Sqlite>>(query, scan.rows, range, |_| {});
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::delivery_row).collect()
}

/// The rows of a state or reason in the cheapest form to scan by key. The index of pending deliveries has
/// another order: while they are few they are sorted, otherwise all deliveries are scanned.
pub(super) async fn quickest(
    conn: &mut SqliteConnection,
    (state, reason): (Option<State>, Option<Reason>),
    limits: ScanLimits,
) -> Result<&'static str, sqlx::Error> {
    const ALL: &str = "deliveries NOT INDEXED WHERE TRUE";
    if let Some(reason) = reason {
        return Ok(dead_for(reason));
    }
    Ok(match state {
        Some(State::Dead | State::Leased) => candidates(state),
        Some(State::Pending) => {
            let pending: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_pending
                 WHERE state = 'pending' LIMIT ?)",
            )
            .bind(i64::from(limits.events))
            .fetch_one(conn)
            .await?;
            if pending < i64::from(limits.events) { candidates(state) } else { ALL }
        }
        Some(State::Delivered | State::Discarded) | None => ALL,
    })
}

/// The keys of an event's deliveries.
pub(super) async fn range_of(
    conn: &mut SqliteConnection,
    event_id: EventId,
) -> Result<Option<KeyRange>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT first_delivery_id, first_delivery_id + delivery_count FROM events WHERE id = ?",
    )
    .bind(event_id.0)
    .fetch_optional(conn)
    .await?;
    found.map(|row| Ok(KeyRange { floor: row.try_get(0)?, before: row.try_get(1)? })).transpose()
}
