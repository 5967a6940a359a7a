//! Scans of events and deliveries by key: the statements of lists, the index each uses, and how far one query
//! scans.

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

use super::keyset::Scan;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::StoredEvent;
use crate::domain::id::EventId;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::{self, KeyRange};
use crate::store::{DeliveryQuery, DeliveryRow, EventQuery, Listed};

/// The rows of `deliveries` in a state: the word in the statement leaves one of the tables.
pub(super) const fn candidates((state, reason): (Option<State>, Option<Reason>)) -> &'static str {
    match (state, reason) {
        (_, Some(_)) | (Some(State::Dead), None) => "deliveries WHERE state = 'dead'",
        (Some(State::Pending), None) => "deliveries WHERE state = 'pending'",
        (Some(State::Leased), None) => "deliveries WHERE state = 'leased'",
        (Some(State::Delivered), None) => "deliveries WHERE state = 'delivered'",
        (Some(State::Discarded), None) => "deliveries WHERE state = 'discarded'",
        (None, None) => "deliveries WHERE TRUE",
    }
}

/// Scans the events of a range, up to the limit.
pub(super) async fn scan_events(
    conn: &mut PgConnection,
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
    conn: &mut PgConnection,
    query: &EventQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<StoredEvent>, Failure> {
    let mut sql: QueryBuilder<Postgres> = statement::events(query, scan.rows, range);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::event).collect()
}

/// Scans the deliveries of a range, up to the limit.
pub(super) async fn scan_deliveries(
    conn: &mut PgConnection,
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
    conn: &mut PgConnection,
    query: &DeliveryQuery,
    scan: Scan,
    range: KeyRange,
) -> Result<Vec<DeliveryRow>, Failure> {
    let of_event = |sql: &mut _| add_of_event(sql, query.event_id);
    let mut sql = statement::deliveries(query, scan.rows, range, of_event);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::delivery_row).collect()
}

/// Adds the condition that a delivery is of this event.
pub(super) fn add_of_event(sql: &mut QueryBuilder<Postgres>, event_id: Option<EventId>) {
    if let Some(id) = event_id {
        sql.push(" AND id = ANY (ARRAY (SELECT unnest(delivery_ids) FROM events WHERE id = ");
        sql.push_bind(id.0).push("))");
    }
}
