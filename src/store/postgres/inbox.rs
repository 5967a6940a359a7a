//! The inbox: rows are locked, routed, accepted and deleted in one transaction. A row that another node has locked is
//! skipped; one whose transaction has not committed is not there yet.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::accept::{self, Arrival, Written};
use super::counts::Counts;
use super::dedup_filter::Filters;
use super::keys::KeyGenerator;
use crate::domain::clock::Timestamp;
use crate::domain::id::SourceId;
use crate::domain::inbox::{Backlog, MOST_COUNTED};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::{InboxRow, InboxTake, WaitingSource};

/// Takes rows and accepts their events.
pub(super) async fn take(
    conn: &mut PgConnection,
    take: &InboxTake,
    (keys, filters, now): (&KeyGenerator, &Filters, ServiceTime),
    counts: &mut Counts,
) -> Result<Written, Failure> {
    let rows = lock_rows(conn, take).await?;
    let routed = if rows.is_empty() { Vec::new() } else { take.router.route(rows) };
    let ids: Vec<i64> = routed.iter().map(|row| row.id).collect();
    let arrivals: Vec<_> =
        routed.into_iter().map(|row| Arrival::new(row.new, keys, row.is_counted)).collect();
    let arrivals: Vec<_> = arrivals.iter().collect();
    let written = accept::accept(conn, &arrivals, filters, now, counts).await?;
    if !ids.is_empty() {
        sqlx::query("DELETE FROM inbox WHERE id = ANY($1)").bind(ids).execute(conn).await?;
    }
    Ok(written)
}

async fn lock_rows(conn: &mut PgConnection, take: &InboxTake) -> Result<Vec<InboxRow>, Failure> {
    let sources: Vec<i64> = take.sources.iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "SELECT r.id, r.source_id, r.message_id, r.message
         FROM unnest($1::bigint[]) AS ready (source_id)
         CROSS JOIN LATERAL (
            SELECT i.id, i.source_id, i.message_id, i.message::text AS message FROM inbox AS i
            WHERE i.source_id = ready.source_id ORDER BY i.id LIMIT $2 FOR UPDATE SKIP LOCKED
         ) AS r ORDER BY r.source_id, r.id",
    )
    .bind(sources)
    .bind(i64::from(take.most_each))
    .fetch_all(conn)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok(InboxRow {
            id: row.try_get(0)?,
            source_id: SourceId(row.try_get(1)?),
            message_id: row.try_get(2)?,
            message: row.try_get(3)?,
        })
    };
    rows.iter().map(read).collect()
}

/// The sources that have rows: one step of the index for each.
pub(super) async fn waiting_sources(
    conn: &mut PgConnection,
    most: u32,
) -> Result<Vec<WaitingSource>, sqlx::Error> {
    let rows = sqlx::query(
        "WITH RECURSIVE waiting (source_id) AS (
            (SELECT source_id FROM inbox ORDER BY source_id LIMIT 1)
            UNION ALL
            SELECT (SELECT i.source_id FROM inbox AS i WHERE i.source_id > w.source_id
                ORDER BY i.source_id LIMIT 1)
            FROM waiting AS w WHERE w.source_id IS NOT NULL
         )
         SELECT w.source_id, coalesce(s.removed_at IS NOT NULL, TRUE)
         FROM waiting AS w LEFT JOIN sources AS s ON s.id = w.source_id
         WHERE w.source_id IS NOT NULL LIMIT $1",
    )
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| {
        Ok(WaitingSource { id: SourceId(row.try_get(0)?), is_removed: row.try_get(1)? })
    };
    rows.iter().map(read).collect()
}

/// What waits in the inbox.
pub(super) async fn backlog(conn: &mut PgConnection) -> Result<Backlog, sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM (SELECT FROM inbox LIMIT $1) AS counted),
            (SELECT enqueued_at FROM inbox ORDER BY id LIMIT 1)",
    )
    .bind(i64::try_from(MOST_COUNTED).unwrap_or(i64::MAX))
    .fetch_one(conn)
    .await?;
    let waiting: i64 = row.try_get(0)?;
    let oldest_at: Option<i64> = row.try_get(1)?;
    Ok(Backlog {
        waiting: u64::try_from(waiting).unwrap_or(0),
        oldest_at: oldest_at.map(Timestamp::from_micros),
    })
}
