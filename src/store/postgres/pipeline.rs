//! Reads the pipeline in one snapshot: sources, write keys, destinations, secrets, mappings with their current
//! revision.

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgRow};

use super::{credential, pause};
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, EventId, MappingId, RevisionId, SourceId};
use crate::domain::mapping::{Mapping, MappingRevision};
use crate::domain::source::{Source, SourceLimits};
use crate::store::failure::Failure;
use crate::store::row::{Columns, from_json};
use crate::store::{Pipeline, Routing, SharedSecret, WriteKey};

/// Reads the whole pipeline.
pub(super) async fn read(conn: &mut PgConnection) -> Result<Pipeline, Failure> {
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let version =
        sqlx::query_scalar("SELECT version FROM pipeline").fetch_one(&mut *snapshot).await?;
    let sources = rows(
        &mut snapshot,
        "SELECT id, name, enabled, limits, created_at FROM sources
         WHERE removed_at IS NULL ORDER BY name",
        source,
    )
    .await?;
    let write_keys = rows(
        &mut snapshot,
        "SELECT source_id, digest, sealed_id, key_id, sealed, created_at, retires_at
         FROM write_keys ORDER BY source_id",
        write_key,
    )
    .await?;
    let destinations = rows(
        &mut snapshot,
        "SELECT d.id, d.source_id, d.name, d.enabled, d.resumed_at, d.settings, d.created_at
         FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
         WHERE d.removed_at IS NULL ORDER BY s.name, d.name",
        destination,
    )
    .await?;
    let shared_secrets = rows(
        &mut snapshot,
        "SELECT destination_id, sealed_id, key_id, sealed, created_at, retires_at
         FROM shared_secrets ORDER BY destination_id, retires_at IS NOT NULL, id DESC",
        shared_secret,
    )
    .await?;
    let mappings = rows(
        &mut snapshot,
        "SELECT m.id, m.destination_id, m.name, m.enabled, m.resumed_at, m.created_at,
            r.id, r.number, r.definition, r.created_at, r.created_by
         FROM mappings AS m
         JOIN mapping_revisions AS r ON r.id = m.revision_id
         JOIN destinations AS d ON d.id = m.destination_id
         JOIN sources AS s ON s.id = d.source_id
         WHERE m.removed_at IS NULL ORDER BY s.name, d.name, m.name",
        mapping,
    )
    .await?;
    let credentials = rows(&mut snapshot, credential::SELECT, credential::credential).await?;
    let connections =
        rows(&mut snapshot, credential::SELECT_CONNECTIONS, credential::connection).await?;
    let pauses = rows(&mut snapshot, pause::SELECT, pause::pause).await?;
    let receiver_waits = rows(&mut snapshot, pause::SELECT_WAITS, pause::receiver_wait).await?;
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
        revisions.push((MappingId(from.take()?), revision(&mut from)?));
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
    found.iter().map(|row| revision(&mut Columns::from(row, 0))).collect()
}

async fn rows<T>(
    conn: &mut PgConnection,
    sql: &'static str,
    read: fn(&PgRow) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    sqlx::query(sql).fetch_all(conn).await?.iter().map(read).collect()
}

fn source(row: &PgRow) -> Result<Source, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(Source {
        id: SourceId(from.take()?),
        name: from.take()?,
        enabled: from.take()?,
        limits: match from.take::<Option<String>>()? {
            Some(limits) => from_json("a source's limits", &limits)?,
            None => SourceLimits::default(),
        },
        created_at: from.at()?,
    })
}

fn write_key(row: &PgRow) -> Result<WriteKey, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(WriteKey {
        source_id: SourceId(from.take()?),
        digest: from.bytes("a write key's digest")?,
        sealed: from.sealed()?,
    })
}

fn shared_secret(row: &PgRow) -> Result<SharedSecret, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(SharedSecret { destination_id: DestinationId(from.take()?), secret: from.sealed()? })
}

fn destination(row: &PgRow) -> Result<Destination, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(Destination {
        id: DestinationId(from.take()?),
        source_id: SourceId(from.take()?),
        name: from.take()?,
        enabled: from.take()?,
        resumed_at: from.service_at()?,
        settings: from_json("destination settings", from.text()?)?,
        created_at: from.at()?,
    })
}

fn mapping(row: &PgRow) -> Result<Mapping, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(Mapping {
        id: MappingId(from.take()?),
        destination_id: DestinationId(from.take()?),
        name: from.take()?,
        enabled: from.take()?,
        resumed_at: from.service_at()?,
        created_at: from.at()?,
        revision: revision(&mut from)?,
    })
}

fn revision(from: &mut Columns<'_>) -> Result<MappingRevision, Failure> {
    Ok(MappingRevision {
        id: RevisionId(from.take()?),
        number: from.small()?,
        definition: from_json("a mapping definition", from.text()?)?,
        created_at: from.at()?,
        created_by: from.take()?,
    })
}
