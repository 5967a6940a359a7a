//! Deliveries that backfills made: found from their event through a table of their own, as their keys do not
//! follow those of the event's other deliveries.

use sqlx::sqlite::SqliteConnection;

use crate::domain::id::EventId;

/// The deliveries that backfills made from an event, in the order of their keys.
pub(super) async fn of_event(
    conn: &mut SqliteConnection,
    event_id: EventId,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT delivery_id FROM backfilled WHERE event_id = ? ORDER BY delivery_id")
        .bind(event_id.0)
        .fetch_all(conn)
        .await
}

/// Whether backfills made any from events before this key.
pub(super) async fn any_before(
    conn: &mut SqliteConnection,
    event_id: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM backfilled WHERE event_id < ?)")
        .bind(event_id)
        .fetch_one(conn)
        .await
}
