//! Rows of the pipeline: sources, write keys, destinations, secrets, mappings with their current revision.

use super::{Columns, Row, from_json};
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, MappingId, RevisionId, SourceId};
use crate::domain::mapping::{Mapping, MappingRevision};
use crate::domain::source::{Source, SourceLimits};
use crate::store::failure::Failure;
use crate::store::{SharedSecret, WriteKey};

/// The sources.
pub(crate) const SOURCES: &str = "SELECT id, name, enabled, limits, created_at FROM sources
     WHERE removed_at IS NULL ORDER BY name";

/// A row of [`SOURCES`].
pub(crate) fn source<'a>(row: impl Into<Row<'a>>) -> Result<Source, Failure> {
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

/// The write keys.
pub(crate) const WRITE_KEYS: &str =
    "SELECT source_id, digest, sealed_id, key_id, sealed, created_at, retires_at
     FROM write_keys ORDER BY source_id";

/// A row of [`WRITE_KEYS`].
pub(crate) fn write_key<'a>(row: impl Into<Row<'a>>) -> Result<WriteKey, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(WriteKey {
        source_id: SourceId(from.take()?),
        digest: from.bytes("a write key's digest")?,
        sealed: from.sealed()?,
    })
}

/// The shared secrets.
pub(crate) const SHARED_SECRETS: &str =
    "SELECT destination_id, sealed_id, key_id, sealed, created_at, retires_at
     FROM shared_secrets ORDER BY destination_id, retires_at IS NOT NULL, id DESC";

/// A row of [`SHARED_SECRETS`].
pub(crate) fn shared_secret<'a>(row: impl Into<Row<'a>>) -> Result<SharedSecret, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(SharedSecret { destination_id: DestinationId(from.take()?), secret: from.sealed()? })
}

/// The destinations.
pub(crate) const DESTINATIONS: &str =
    "SELECT d.id, d.source_id, d.name, d.enabled, d.resumed_at, d.settings, d.created_at
     FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
     WHERE d.removed_at IS NULL ORDER BY s.name, d.name";

/// A row of [`DESTINATIONS`].
pub(crate) fn destination<'a>(row: impl Into<Row<'a>>) -> Result<Destination, Failure> {
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

/// The mappings with their current revision.
pub(crate) const MAPPINGS: &str =
    "SELECT m.id, m.destination_id, m.name, m.enabled, m.resumed_at, m.created_at,
        r.id, r.number, r.definition, r.created_at, r.created_by
     FROM mappings AS m
     JOIN mapping_revisions AS r ON r.id = m.revision_id
     JOIN destinations AS d ON d.id = m.destination_id
     JOIN sources AS s ON s.id = d.source_id
     WHERE m.removed_at IS NULL ORDER BY s.name, d.name, m.name";

/// A row of [`MAPPINGS`].
pub(crate) fn mapping<'a>(row: impl Into<Row<'a>>) -> Result<Mapping, Failure> {
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

/// The next five columns as a revision of a mapping.
pub(crate) fn revision(from: &mut Columns<'_>) -> Result<MappingRevision, Failure> {
    Ok(MappingRevision {
        id: RevisionId(from.take()?),
        number: from.small()?,
        definition: from_json("a mapping definition", from.text()?)?,
        created_at: from.at()?,
        created_by: from.take()?,
    })
}
