//! Lists of events and deliveries, newest first, by keyset pagination: a query scans at most N rows, whatever
//! its conditions, and returns where it stopped.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::keyset::Scan;
use super::scan::{candidates, read_deliveries, scan_deliveries, scan_events};
use crate::domain::attempt::Attempt;
use crate::domain::event::StoredEvent;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::failure::Failure;
use crate::store::row::{self, DELIVERY_COLUMNS, EVENT_COLUMNS};
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::Span;
use crate::store::{DeliveryQuery, DeliveryRow, EventQuery, Listed};

/// One event.
pub(super) async fn event(
    conn: &mut PgConnection,
    id: EventId,
) -> Result<Option<StoredEvent>, Failure> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::event).transpose()
}

/// Events, newest first.
pub(super) async fn events(
    conn: &mut PgConnection,
    query: &EventQuery,
    limits: ScanLimits,
) -> Result<Listed<StoredEvent>, Failure> {
    let scan = if query.rejected { Scan::REJECTED } else { Scan::EVENTS };
    let range = scan.range(conn, Span::of_events(query)).await?;
    scan_events(conn, query, scan, range, limits).await
}

/// One delivery.
pub(super) async fn delivery(
    conn: &mut PgConnection,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, Failure> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries AS d
         JOIN events AS e ON e.id = d.event_id WHERE d.id = $1"
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::delivery_row).transpose()
}

/// Deliveries, newest first.
pub(super) async fn deliveries(
    conn: &mut PgConnection,
    query: &DeliveryQuery,
    limits: ScanLimits,
) -> Result<Listed<DeliveryRow>, Failure> {
    let scan = Scan::deliveries(candidates((query.state, query.reason)));
    let range = scan.range(conn, Span::of_deliveries(query)).await?;
    if query.event_id.is_some() {
        // They are found by their keys, which their event has: nothing is scanned.
        let rows = read_deliveries(conn, query, scan, range).await?;
        return Ok(Listed { rows, looked_to: None });
    }
    scan_deliveries(conn, query, scan, range, limits).await
}

/// A delivery's attempts, in the order they were recorded.
pub(super) async fn attempts(
    conn: &mut PgConnection,
    id: DeliveryId,
) -> Result<Vec<Attempt>, Failure> {
    let columns = row::ATTEMPT_COLUMNS;
    let sql = format!(
        "SELECT {columns} FROM attempts AS a LEFT JOIN batches AS b ON b.id = a.batch_id
         WHERE a.delivery_id = $1 ORDER BY a.id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_all(conn).await?;
    rows.iter().map(row::attempt).collect()
}
