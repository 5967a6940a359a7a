//! Reads the pipeline in one snapshot: sources, write keys, destinations, secrets, mappings with their current
//! revision.

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgRow};

use crate::domain::id::{DestinationId, EventId, MappingId};
use crate::domain::mapping::MappingRevision;
use crate::store::failure::Failure;
use crate::store::row::{self, Columns};
use crate::store::{Pipeline, Routing};

/// Reads the whole pipeline.
pub(super) async fn read(conn: &mut PgConnection) -> Result<Pipeline, Failure> {
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let version =
        sqlx::query_scalar("SELECT version FROM pipeline").fetch_one(&mut *snapshot).await?;
    let sources = rows(&mut snapshot, row::SOURCES, |row| row::source(row)).await?;
    let write_keys = rows(&mut snapshot, row::WRITE_KEYS, |row| row::write_key(row)).await?;
    let destinations = rows(&mut snapshot, row::DESTINATIONS, |row| row::destination(row)).await?;
    let shared_secrets =
        rows(&mut snapshot, row::SHARED_SECRETS, |row| row::shared_secret(row)).await?;
    let mappings = rows(&mut snapshot, row::MAPPINGS, |row| row::mapping(row)).await?;
    let credentials = rows(&mut snapshot, row::CREDENTIALS, |row| row::credential(row)).await?;
    let connections = rows(&mut snapshot, row::CONNECTIONS, |row| row::connection(row)).await?;
    let pauses = rows(&mut snapshot, row::PAUSES, |row| row::pause(row)).await?;
    let receiver_waits =
        rows(&mut snapshot, row::RECEIVER_WAITS, |row| row::receiver_wait(row)).await?;
    snapshot.rollback().await?;
    Ok(Pipeline {
        version,
        sources,
        write_keys,
        destinations,
        shared_secrets,
        mappings,
        credentials,
        connections,
        pauses,
        receiver_waits,
    })
}

/// The skips and revisions that decided an event's routing.
pub(super) async fn routing(
    conn: &mut PgConnection,
    event_id: EventId,
) -> Result<Routing, Failure> {
    let skips: Vec<i64> =
        sqlx::query_scalar("SELECT d FROM events, unnest(skips) AS d WHERE id = $1 ORDER BY d")
            .bind(event_id.0)
            .fetch_all(&mut *conn)
            .await?;
    let found = sqlx::query(
        "SELECT r.mapping_id, r.id, r.number, r.definition, r.created_at, r.created_by
         FROM events AS e
         JOIN destinations AS d ON d.source_id = e.source_id AND d.removed_at IS NULL
         JOIN mappings AS m ON m.destination_id = d.id AND m.removed_at IS NULL
         JOIN mapping_revisions AS r ON r.mapping_id = m.id
         WHERE e.id = $1 AND r.number = (SELECT max(number) FROM mapping_revisions
            WHERE mapping_id = m.id AND created_at <= e.received_at)
         ORDER BY r.mapping_id",
    )
    .bind(event_id.0)
    .fetch_all(conn)
    .await?;
    let mut revisions = Vec::with_capacity(found.len());
    for row in &found {
        let mut from = Columns::from(row, 0);
        revisions.push((MappingId(from.take()?), row::revision(&mut from)?));
    }
    Ok(Routing { skips: skips.into_iter().map(DestinationId).collect(), revisions })
}

/// A mapping's revisions, newest first.
pub(super) async fn revisions(
    conn: &mut PgConnection,
    mapping_id: MappingId,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<MappingRevision>, Failure> {
    let found = sqlx::query(
        "SELECT id, number, definition, created_at, created_by FROM mapping_revisions
         WHERE mapping_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
    )
    .bind(mapping_id.0)
    .bind(before.map_or(i64::MAX, i64::from))
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    found.iter().map(|row| row::revision(&mut Columns::from(row, 0))).collect()
}

async fn rows<T>(
    conn: &mut PgConnection,
    sql: &'static str,
    read: fn(&PgRow) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    sqlx::query(sql).fetch_all(conn).await?.iter().map(read).collect()
}
