//! Scans of events and deliveries by key: the statements of lists, the index each uses, and how far one query
//! scans.

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::conditions::{Conditions, push_among, push_conditions, push_event};
use super::keyset::{KeyRange, Scan};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::StoredEvent;
use crate::domain::id::EventId;
use crate::store::failure::Failure;
use crate::store::row::{self, DELIVERY_COLUMNS, EVENT_COLUMNS};
use crate::store::scan_limits::ScanLimits;
use crate::store::{Cursor, DeliveryQuery, DeliveryRow, EventQuery, Listed};

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
    Ok(listed(rows, query.limit, end, range))
}

/// The events of a range.
pub(super) async fn read_events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<StoredEvent>, Failure> {
    let mut sql = statement_of_events(query, scan, range);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::event).collect()
}

/// The query of the events of a range.
pub(super) fn statement_of_events(
    query: &EventQuery,
    scan: Scan,
    range: KeyRange,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {EVENT_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        scan.rows
    ));
    sql.push_bind(range.floor);
    sql.push(" AND id < ").push_bind(range.before).push(") AS e WHERE TRUE");
    push_event(&mut sql, &query.event);
    push_among(&mut sql, "e.source_id", query.among.as_ref().map(|ids| ids.iter().map(|id| id.0)));
    if let Some(from) = query.accepted_from {
        sql.push(" AND e.received_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = query.accepted_until {
        sql.push(" AND e.received_at < ").push_bind(until.as_micros());
    }
    sql.push(" ORDER BY e.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// The page of one scan. A full page ends with its last row, not with the scan.
pub(super) fn listed<T>(
    rows: Vec<T>,
    limit: u32,
    end: Option<(i64, Timestamp)>,
    range: KeyRange,
) -> Listed<T> {
    let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let end = end.filter(|(id, _)| !is_full && *id > range.floor);
    Listed { rows, looked_to: end.map(|(key, at)| Cursor { at, key }) }
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
    Ok(listed(rows, query.limit, end, range))
}

/// The deliveries of a range.
pub(super) async fn read_deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<DeliveryRow>, Failure> {
    let mut sql = statement_of_deliveries(query, scan, range);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::delivery_row).collect()
}

/// The query of the deliveries of a range.
pub(super) fn statement_of_deliveries(
    query: &DeliveryQuery,
    scan: Scan,
    range: KeyRange,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        scan.rows
    ));
    sql.push_bind(range.floor);
    sql.push(" AND id < ").push_bind(range.before);
    sql.push(") AS d CROSS JOIN events AS e ON e.id = d.event_id WHERE TRUE");
    // A reason implies the state dead, whatever the state condition.
    if let Some(state) = query.state {
        sql.push(" AND d.state = ").push_bind(state.as_str());
    }
    push_conditions(&mut sql, &Conditions::of_query(query));
    push_event(&mut sql, &query.event);
    sql.push(" ORDER BY d.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
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
