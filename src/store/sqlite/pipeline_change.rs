//! Pipeline changes: each change of a request in its order, in one commit with the version check. Names are
//! the identity; rows that history may refer to are marked as removed, not deleted.

use rusqlite::params;

use super::credential;
use super::pipeline_audit::Before;
use super::pipeline_rename;
use super::writer::step::{Step, Tx};
use crate::domain::auth::Act;
use crate::domain::destination::DestinationSettings;
use crate::domain::mapping::MappingDefinition;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::SourceLimits;
use crate::store::failure::Failure;
use crate::store::row::{Columns, from_json, to_json};
use crate::store::{PipelineChange, StoreError};

/// The kind of auth that holds deliveries without a connection: a change to another kind resumes them.
const NEEDS_CONNECTION: &str = "authorization_code";

/// A destination is removed, and its mappings with it.
const REMOVE_DESTINATION: [&str; 2] = [
    "UPDATE mappings SET removed_at = ?, enabled = 0
     WHERE destination_id = ? AND removed_at IS NULL",
    "UPDATE destinations SET removed_at = ?, enabled = 0 WHERE id = ?",
];
/// What is deleted with a destination.
const DELETE_OF_DESTINATION: [&str; 6] = [
    "DELETE FROM shared_secrets WHERE destination_id = ?",
    "DELETE FROM credentials WHERE destination_id = ?",
    "DELETE FROM connections WHERE destination_id = ?",
    "DELETE FROM pauses WHERE kind = 'destination' AND subject_id = ?",
    "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id IN
        (SELECT id FROM mappings WHERE destination_id = ?)",
    "DELETE FROM receiver_waits WHERE mapping_id IN
        (SELECT id FROM mappings WHERE destination_id = ?)",
];
const REMOVE_MAPPING: &str = "UPDATE mappings SET removed_at = ?, enabled = 0
    WHERE destination_id = ? AND name = ? AND removed_at IS NULL";
/// What is deleted with a mapping.
const DELETE_OF_MAPPING: [&str; 2] = [
    "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id IN (SELECT id FROM mappings
        WHERE destination_id = ? AND name = ? AND removed_at IS NOT NULL)",
    "DELETE FROM receiver_waits WHERE mapping_id IN (SELECT id FROM mappings
        WHERE destination_id = ? AND name = ? AND removed_at IS NOT NULL)",
];
const DELETE_RETIRED_SECRET: &str =
    "DELETE FROM shared_secrets WHERE destination_id = ? AND retires_at IS NOT NULL";
const RETIRE_SECRET: &str = "UPDATE shared_secrets SET retires_at = ? WHERE destination_id = ?";
const DELETE_SECRETS: &str = "DELETE FROM shared_secrets WHERE destination_id = ?";

/// The statements that look for what belongs to a destination.
#[cfg(test)]
pub(super) fn of_destination() -> Vec<&'static str> {
    let more = [REMOVE_MAPPING, DELETE_RETIRED_SECRET, RETIRE_SECRET, DELETE_SECRETS];
    let lists = [&REMOVE_DESTINATION[..], &DELETE_OF_DESTINATION, &DELETE_OF_MAPPING, &more];
    lists.concat()
}

/// All changes of a request.
#[derive(Debug)]
pub(super) struct ChangePipeline {
    pub(super) expected_version: i64,
    pub(super) changes: Vec<PipelineChange>,
    pub(super) act: Act,
}

impl Step for ChangePipeline {
    type Answer = i64;
    const CONTEXT: &'static str = "change the pipeline";

    fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let version: i64 = tx.sqlite.one("SELECT version FROM pipeline", &[], |row| row.get(0))?;
        if version != self.expected_version {
            return Err(StoreError::Conflict.into());
        }
        apply_all(tx, &self.changes, &self.act)?;
        let version = version + 1;
        tx.execute("UPDATE pipeline SET version = ?", params![version])?;
        Ok(version)
    }
}

/// Applies changes in their order, each with its audit entry.
pub(super) fn apply_all(
    tx: &mut Tx<'_>,
    changes: &[PipelineChange],
    act: &Act,
) -> Result<(), Failure> {
    pipeline_rename::rename(tx, changes, act)?;
    let before = Before::read(tx, changes)?;
    let applying = Applying { act };
    for change in changes {
        applying.apply(tx, change)?;
    }
    before.append_audit(tx, act)
}

/// Changes as they are applied: by whom and when.
struct Applying<'a> {
    act: &'a Act,
}

/// The row that a change builds on. Where it is missing, the request was made against another state of the
/// pipeline.
fn expected(found: Option<i64>) -> Result<i64, Failure> {
    found.ok_or(Failure::Refused(StoreError::Conflict))
}

impl Applying<'_> {
    fn apply(&self, tx: &mut Tx<'_>, change: &PipelineChange) -> Result<(), Failure> {
        match change {
            PipelineChange::PutSource { source, enabled } => self.put_source(tx, source, *enabled),
            PipelineChange::PutSourceLimits { source, limits } => {
                put_source_limits(tx, source, limits)
            }
            // Done before.
            PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. } => Ok(()),
            PipelineChange::PutWriteKey { source, digest, sealed } => {
                put_write_key(tx, source, digest, sealed)
            }
            PipelineChange::RemoveSource { source } => {
                let source_id = expected(source_id(tx, source)?)?;
                self.remove_source(tx, source_id)
            }
            PipelineChange::PutDestination { source, destination, enabled, settings } => {
                let source_id = expected(source_id(tx, source)?)?;
                self.put_destination(tx, source_id, destination, *enabled, settings)
            }
            PipelineChange::PutSharedSecret { source, destination, secret, retire_at } => {
                let id = destination_id(tx, source, destination)?;
                put_shared_secret(tx, id, secret.as_ref(), *retire_at)
            }
            PipelineChange::PutCredential { source, destination, slot, secret } => {
                let id = destination_id(tx, source, destination)?;
                credential::put(tx, id, slot, secret.as_ref())
            }
            PipelineChange::Disconnect { source, destination, fault } => {
                let id = destination_id(tx, source, destination)?;
                credential::disconnect(tx, id, fault)
            }
            PipelineChange::RemoveDestination { source, destination } => {
                let id = destination_id(tx, source, destination)?;
                self.remove_destination(tx, id)
            }
            PipelineChange::PutMapping { source, destination, mapping, enabled, definition } => {
                let id = destination_id(tx, source, destination)?;
                self.put_mapping(tx, id, mapping, *enabled, definition)
            }
            PipelineChange::RemoveMapping { source, destination, mapping } => {
                let id = destination_id(tx, source, destination)?;
                self.remove_mapping(tx, id, mapping)
            }
        }
    }

    fn put_source(&self, tx: &mut Tx<'_>, name: &str, enabled: bool) -> Result<(), Failure> {
        match source_id(tx, name)? {
            Some(id) => {
                tx.execute("UPDATE sources SET enabled = ? WHERE id = ?", params![enabled, id])?
            }
            None => tx.execute(
                "INSERT INTO sources (name, enabled, created_at) VALUES (?, ?, ?)",
                params![name, enabled, self.act.at.as_micros()],
            )?,
        };
        Ok(())
    }

    fn remove_source(&self, tx: &mut Tx<'_>, source_id: i64) -> Result<(), Failure> {
        let destinations: Vec<i64> = tx.sqlite.all(
            "SELECT id FROM destinations WHERE source_id = ? AND removed_at IS NULL",
            params![source_id],
            |row| row.get(0),
        )?;
        for destination_id in destinations {
            self.remove_destination(tx, destination_id)?;
        }
        tx.execute("DELETE FROM write_keys WHERE source_id = ?", params![source_id])?;
        tx.execute(
            "UPDATE sources SET removed_at = ?, enabled = 0 WHERE id = ?",
            params![self.act.at.as_micros(), source_id],
        )?;
        Ok(())
    }

    fn put_destination(
        &self,
        tx: &mut Tx<'_>,
        source_id: i64,
        name: &str,
        enabled: bool,
        settings: &DestinationSettings,
    ) -> Result<(), Failure> {
        let auth = &settings.auth;
        let settings = to_json(settings)?;
        let (now, resumed_at) = (self.act.at.as_micros(), tx.clock.service_now().as_micros());
        let found: Option<i64> = tx.sqlite.first(
            "SELECT id FROM destinations
             WHERE source_id = ? AND name = ? AND removed_at IS NULL",
            params![source_id, name],
            |row| row.get(0),
        )?;
        match found {
            Some(id) => tx.execute(
                "UPDATE destinations SET settings = ?1, enabled = ?2,
                    resumed_at = CASE WHEN ?2 AND NOT enabled THEN ?3
                        WHEN NOT ?5 AND json_extract(settings, '$.auth.kind') = ?6 THEN ?3
                        ELSE resumed_at END
                 WHERE id = ?4",
                params![
                    settings,
                    enabled,
                    resumed_at,
                    id,
                    auth.needs_connection(),
                    NEEDS_CONNECTION
                ],
            )?,
            None => tx.execute(
                "INSERT INTO destinations
                    (source_id, name, settings, enabled, resumed_at, created_at)
                 VALUES (?4, ?5, ?1, ?2, ?3, ?6)",
                params![settings, enabled, resumed_at, source_id, name, now],
            )?,
        };
        Ok(())
    }

    fn remove_destination(&self, tx: &mut Tx<'_>, id: i64) -> Result<(), Failure> {
        for sql in REMOVE_DESTINATION {
            tx.execute(sql, params![self.act.at.as_micros(), id])?;
        }
        for sql in DELETE_OF_DESTINATION {
            tx.execute(sql, params![id])?;
        }
        Ok(())
    }

    fn put_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
        enabled: bool,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let resumed_at = tx.clock.service_now().as_micros();
        let found = tx.sqlite.first(
            "SELECT m.id, r.number, r.definition FROM mappings AS m
             JOIN mapping_revisions AS r ON r.id = m.revision_id
             WHERE m.destination_id = ? AND m.name = ? AND m.removed_at IS NULL",
            params![destination_id, name],
            |row| {
                let mut from = Columns::from(row, 0);
                Ok::<_, Failure>((from.take()?, from.take()?, from.take()?))
            },
        )?;
        let Some((id, number, current)): Option<(i64, i64, String)> = found else {
            return self.add_mapping(tx, destination_id, name, enabled, definition);
        };
        tx.execute(
            "UPDATE mappings SET enabled = ?1,
                resumed_at = CASE WHEN ?1 AND NOT enabled THEN ?2 ELSE resumed_at END
             WHERE id = ?3",
            params![enabled, resumed_at, id],
        )?;
        let current: MappingDefinition = from_json("a mapping definition", &current)?;
        if current != *definition {
            self.add_revision(tx, id, number + 1, definition)?;
        }
        Ok(())
    }

    fn add_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
        enabled: bool,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        // No row of `mappings` is ever deleted.
        let next = "SELECT coalesce(max(id), 0) + 1 FROM mappings";
        let id: i64 = tx.sqlite.one(next, &[], |row| row.get(0))?;
        let revision_id = self.insert_revision(tx, id, 1, definition)?;
        tx.execute(
            "INSERT INTO mappings
                (id, destination_id, name, enabled, resumed_at, revision_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id,
                destination_id,
                name,
                enabled,
                tx.clock.service_now().as_micros(),
                revision_id,
                self.act.at.as_micros()
            ],
        )?;
        Ok(())
    }

    fn add_revision(
        &self,
        tx: &mut Tx<'_>,
        mapping_id: i64,
        number: i64,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let id = self.insert_revision(tx, mapping_id, number, definition)?;
        tx.execute("UPDATE mappings SET revision_id = ? WHERE id = ?", params![id, mapping_id])?;
        Ok(())
    }

    fn insert_revision(
        &self,
        tx: &mut Tx<'_>,
        mapping_id: i64,
        number: i64,
        definition: &MappingDefinition,
    ) -> Result<i64, Failure> {
        let id = tx.sqlite.insert(
            "INSERT INTO mapping_revisions (mapping_id, number, definition, created_at, created_by)
             VALUES (?, ?, ?, ?, ?)",
            params![
                mapping_id,
                number,
                to_json(definition)?,
                self.act.at.as_micros(),
                &self.act.actor
            ],
        )?;
        Ok(id)
    }

    fn remove_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
    ) -> Result<(), Failure> {
        let removed =
            tx.execute(REMOVE_MAPPING, params![self.act.at.as_micros(), destination_id, name])?;
        if removed == 0 {
            return Err(StoreError::Conflict.into());
        }
        for sql in DELETE_OF_MAPPING {
            tx.execute(sql, params![destination_id, name])?;
        }
        Ok(())
    }
}

fn source_id(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = tx.sqlite.first(
        "SELECT id FROM sources WHERE name = ? AND removed_at IS NULL",
        params![name],
        |row| row.get(0),
    )?;
    Ok(id)
}

fn destination_id(tx: &mut Tx<'_>, source: &str, name: &str) -> Result<i64, Failure> {
    let id = tx.sqlite.first(
        "SELECT d.id FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
         WHERE s.name = ? AND s.removed_at IS NULL AND d.name = ? AND d.removed_at IS NULL",
        params![source, name],
        |row| row.get(0),
    )?;
    expected(id)
}

fn put_source_limits(tx: &mut Tx<'_>, name: &str, limits: &SourceLimits) -> Result<(), Failure> {
    let id = expected(source_id(tx, name)?)?;
    let limits = (*limits != SourceLimits::default()).then(|| to_json(limits)).transpose()?;
    tx.execute("UPDATE sources SET limits = ? WHERE id = ?", params![limits, id])?;
    Ok(())
}

fn put_write_key(
    tx: &mut Tx<'_>,
    source: &str,
    digest: &[u8; 32],
    sealed: &SealedSecret,
) -> Result<(), Failure> {
    let source_id = expected(source_id(tx, source)?)?;
    tx.execute(
        "DELETE FROM write_keys WHERE digest = ? AND source_id <> ?",
        params![&digest[..], source_id],
    )?;
    tx.execute(
        "INSERT INTO write_keys
            (source_id, digest, sealed_id, key_id, sealed, created_at, retires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (source_id) DO UPDATE SET digest = excluded.digest,
            sealed_id = excluded.sealed_id, key_id = excluded.key_id, sealed = excluded.sealed,
            created_at = excluded.created_at, retires_at = excluded.retires_at",
        params![
            source_id,
            &digest[..],
            &sealed.id[..],
            &sealed.key_id,
            &sealed.sealed,
            sealed.created_at.as_micros(),
            sealed.retires_at.map(ServiceTime::as_micros)
        ],
    )?;
    Ok(())
}

fn put_shared_secret(
    tx: &mut Tx<'_>,
    destination_id: i64,
    secret: Option<&SealedSecret>,
    retire_at: ServiceTime,
) -> Result<(), Failure> {
    let Some(secret) = secret else {
        tx.execute(DELETE_SECRETS, params![destination_id])?;
        return Ok(());
    };
    tx.execute(DELETE_RETIRED_SECRET, params![destination_id])?;
    tx.execute(RETIRE_SECRET, params![retire_at.as_micros(), destination_id])?;
    tx.execute(
        "INSERT INTO shared_secrets (destination_id, sealed_id, key_id, sealed, created_at)
         VALUES (?, ?, ?, ?, ?)",
        params![
            destination_id,
            &secret.id[..],
            &secret.key_id,
            &secret.sealed,
            secret.created_at.as_micros()
        ],
    )?;
    Ok(())
}
