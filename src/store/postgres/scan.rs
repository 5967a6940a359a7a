//! Scans of events and deliveries by key: the statements of lists, the index each uses, and how far one query
//! scans.

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

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
    Ok(listed(rows, query.limit, end, range))
}

/// The events of a range.
pub(super) async fn read_events(
    conn: &mut PgConnection,
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
) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::<Postgres>::new(format!(
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
    Ok(listed(rows, query.limit, end, range))
}

/// The deliveries of a range.
pub(super) async fn read_deliveries(
    conn: &mut PgConnection,
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
) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::<Postgres>::new(format!(
        "SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        scan.rows
    ));
    sql.push_bind(range.floor);
    sql.push(" AND id < ").push_bind(range.before);
    push_of_event(&mut sql, query.event_id);
    sql.push(") AS d JOIN events AS e ON e.id = d.event_id WHERE TRUE");
    // A reason implies the state dead, whatever the state condition.
    if let Some(state) = query.state {
        sql.push(" AND d.state = ").push_bind(state.as_str());
    }
    push_conditions(&mut sql, &Conditions::of_query(query));
    push_event(&mut sql, &query.event);
    sql.push(" ORDER BY d.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// Adds the condition that a delivery is of this event.
pub(super) fn push_of_event(sql: &mut QueryBuilder<Postgres>, event_id: Option<EventId>) {
    if let Some(id) = event_id {
        sql.push(" AND id = ANY (ARRAY (SELECT unnest(delivery_ids) FROM events WHERE id = ");
        sql.push_bind(id.0).push("))");
    }
}
