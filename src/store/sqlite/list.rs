//! Lists of events and deliveries, newest first, by keyset pagination: a query scans at most N rows, whatever
//! its conditions, and returns where it stopped.

use std::cmp::Reverse;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::backfilled;
use super::dedup::lookup::Lookup;
use super::keyset::Scan;
use super::scan::{quickest, range_of, read_deliveries, scan_deliveries, scan_events};
use crate::domain::attempt::Attempt;
use crate::domain::event::StoredEvent;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::failure::Failure;
use crate::store::row::{self, DELIVERY_COLUMNS, EVENT_COLUMNS};
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::{KeyRange, Span};
use crate::store::{DeliveryQuery, DeliveryRow, EventQuery, Listed};

/// One event.
pub(super) async fn event(
    conn: &mut SqliteConnection,
    id: EventId,
) -> Result<Option<StoredEvent>, Failure> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ?");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::event).transpose()
}

/// Events, newest first.
pub(super) async fn events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    limits: ScanLimits,
) -> Result<Listed<StoredEvent>, Failure> {
    let scan = if query.rejected { Scan::REJECTED } else { Scan::EVENTS };
    let range = scan.range(conn, Span::of_events(query)).await?;
    if !query.rejected
        && let Some(lookup) = Lookup::of(conn, &query.event, query.among.as_deref()).await?
    {
        return lookup.events(conn, query, range, limits).await;
    }
    scan_events(conn, query, scan, range, limits).await
}

/// One delivery.
pub(super) async fn delivery(
    conn: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, Failure> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries AS d
         JOIN events AS e ON e.id = d.event_id WHERE d.id = ?"
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::delivery_row).transpose()
}

/// Deliveries, newest first.
pub(super) async fn deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    limits: ScanLimits,
) -> Result<Listed<DeliveryRow>, Failure> {
    let scan = Scan::deliveries(quickest(conn, (query.state, query.reason), limits).await?);
    let mut range = scan.range(conn, Span::of_deliveries(query)).await?;
    if let Some(event_id) = query.event_id {
        let further = backfilled::of_event(conn, event_id).await?;
        let own = range.within(range_of(conn, event_id).await?.unwrap_or(KeyRange::NONE));
        if !further.is_empty() {
            return of_event(conn, query, scan, (range, own), further).await;
        }
        range = own;
    }
    match Lookup::of(conn, &query.event, None).await? {
        Some(lookup) => lookup.deliveries(conn, query, (scan, range), limits).await,
        None => scan_deliveries(conn, query, scan, range, limits).await,
    }
}

/// The deliveries of an event that backfills made some of, newest first.
async fn of_event(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    scan: Scan,
    (range, own): (KeyRange, KeyRange),
    further: Vec<i64>,
) -> Result<Listed<DeliveryRow>, Failure> {
    let mut rows = read_deliveries(conn, query, scan, own).await?;
    for key in further.into_iter().filter(|key| range.hold(*key)) {
        rows.extend(read_deliveries(conn, query, scan, KeyRange::only(key)).await?);
    }
    rows.sort_by_key(|row| Reverse(row.delivery.id.0));
    rows.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    Ok(Listed { rows, looked_to: None })
}

/// A delivery's attempts, in the order they were recorded.
pub(super) async fn attempts(
    conn: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Vec<Attempt>, Failure> {
    let columns = row::ATTEMPT_COLUMNS;
    let sql = format!(
        "SELECT {columns} FROM attempts AS a LEFT JOIN batches AS b ON b.id = a.batch_id
         WHERE a.delivery_id = ? ORDER BY a.id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_all(conn).await?;
    rows.iter().map(row::attempt).collect()
}
