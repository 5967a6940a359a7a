//! Pipeline changes: each change of a request in its order, in one commit with the version check. Names are
//! the identity; rows that history may refer to are marked as removed, not deleted.

use std::time::Duration;

use super::credential;
use super::pipeline_audit::Before;
use super::pipeline_rename;
use super::tx::{LONG, Step, Tx, params};
use crate::domain::auth::Act;
use crate::domain::destination::DestinationSettings;
use crate::domain::mapping::MappingDefinition;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::SourceLimits;
use crate::store::failure::Failure;
use crate::store::row::{Columns, from_json, to_json};
use crate::store::{PipelineChange, StoreError};
use async_trait::async_trait;
use sqlx::Row as _;

/// The kind of auth that holds deliveries without a connection: a change to another kind resumes them.
const NEEDS_CONNECTION: &str = "authorization_code";

/// All changes of a request.
#[derive(Debug)]
pub(super) struct ChangePipeline {
    pub(super) expected_version: i64,
    pub(super) changes: Vec<PipelineChange>,
    pub(super) act: Act,
}

#[async_trait]
impl Step for ChangePipeline {
    type Answer = i64;
    const CONTEXT: &'static str = "change the pipeline";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let version: i64 = tx
            .one("SELECT version FROM pipeline FOR UPDATE", params![], |row| Ok(row.try_get(0)?))
            .await?;
        if version != self.expected_version {
            return Err(StoreError::Conflict.into());
        }
        apply_all(tx, &self.changes, &self.act).await?;
        let version = version + 1;
        tx.execute("UPDATE pipeline SET version = $1", params![version]).await?;
        Ok(version)
    }
}

/// Applies changes in their order, each with its audit entry.
pub(super) async fn apply_all(
    tx: &mut Tx<'_>,
    changes: &[PipelineChange],
    act: &Act,
) -> Result<(), Failure> {
    pipeline_rename::rename(tx, changes, act).await?;
    let before = Before::read(tx, changes).await?;
    let applying = Applying { act };
    for change in changes {
        applying.apply(tx, change).await?;
    }
    before.append_audit(tx, act).await
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
    async fn apply(&self, tx: &mut Tx<'_>, change: &PipelineChange) -> Result<(), Failure> {
        match change {
            PipelineChange::PutSource { source, enabled } => {
                self.put_source(tx, source, *enabled).await
            }
            PipelineChange::PutSourceLimits { source, limits } => {
                put_source_limits(tx, source, limits).await
            }
            // Done before.
            PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. } => Ok(()),
            PipelineChange::PutWriteKey { source, digest, sealed } => {
                put_write_key(tx, source, digest, sealed).await
            }
            PipelineChange::RemoveSource { source } => {
                let source_id = expected(source_id(tx, source).await?)?;
                self.remove_source(tx, source_id).await
            }
            PipelineChange::PutDestination { source, destination, enabled, settings } => {
                let source_id = expected(source_id(tx, source).await?)?;
                self.put_destination(tx, source_id, destination, *enabled, settings).await
            }
            PipelineChange::PutSharedSecret { source, destination, secret, retire_at } => {
                let id = destination_id(tx, source, destination).await?;
                put_shared_secret(tx, id, secret.as_ref(), *retire_at).await
            }
            PipelineChange::PutCredential { source, destination, slot, secret } => {
                let id = destination_id(tx, source, destination).await?;
                credential::put(tx, id, slot, secret.as_ref()).await
            }
            PipelineChange::Disconnect { source, destination, fault } => {
                let id = destination_id(tx, source, destination).await?;
                credential::disconnect(tx, id, fault).await
            }
            PipelineChange::RemoveDestination { source, destination } => {
                let id = destination_id(tx, source, destination).await?;
                self.remove_destination(tx, id).await
            }
            PipelineChange::PutMapping { source, destination, mapping, enabled, definition } => {
                let id = destination_id(tx, source, destination).await?;
                self.put_mapping(tx, id, mapping, *enabled, definition).await
            }
            PipelineChange::RemoveMapping { source, destination, mapping } => {
                let id = destination_id(tx, source, destination).await?;
                self.remove_mapping(tx, id, mapping).await
            }
        }
    }

    async fn put_source(&self, tx: &mut Tx<'_>, name: &str, enabled: bool) -> Result<(), Failure> {
        match source_id(tx, name).await? {
            Some(id) => {
                tx.execute("UPDATE sources SET enabled = $1 WHERE id = $2", params![enabled, id])
                    .await?
            }
            None => {
                tx.execute(
                    "INSERT INTO sources (name, enabled, created_at) VALUES ($1, $2, $3)",
                    params![name, enabled, self.act.at.as_micros()],
                )
                .await?
            }
        };
        Ok(())
    }

    async fn remove_source(&self, tx: &mut Tx<'_>, source_id: i64) -> Result<(), Failure> {
        let destinations: Vec<i64> = tx
            .all(
                "SELECT id FROM destinations WHERE source_id = $1 AND removed_at IS NULL",
                params![source_id],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        for destination_id in destinations {
            self.remove_destination(tx, destination_id).await?;
        }
        tx.execute("DELETE FROM write_keys WHERE source_id = $1", params![source_id]).await?;
        tx.execute(
            "UPDATE sources SET removed_at = $1, enabled = false WHERE id = $2",
            params![self.act.at.as_micros(), source_id],
        )
        .await?;
        Ok(())
    }

    async fn put_destination(
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
        let found: Option<i64> = tx
            .first(
                "SELECT id FROM destinations
             WHERE source_id = $1 AND name = $2 AND removed_at IS NULL",
                params![source_id, name],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        match found {
            Some(id) => {
                tx.execute(
                    "UPDATE destinations SET settings = $1, enabled = $2,
                    resumed_at = CASE WHEN $2::boolean AND NOT enabled THEN $3
                        WHEN NOT $5::boolean AND settings::json #>> '{auth,kind}' = $6 THEN $3
                        ELSE resumed_at END
                 WHERE id = $4",
                    params![
                        settings,
                        enabled,
                        resumed_at,
                        id,
                        auth.needs_connection(),
                        NEEDS_CONNECTION
                    ],
                )
                .await?
            }
            None => {
                tx.execute(
                    "INSERT INTO destinations
                    (source_id, name, settings, enabled, resumed_at, created_at)
                 VALUES ($4, $5, $1, $2, $3, $6)",
                    params![settings, enabled, resumed_at, source_id, name, now],
                )
                .await?
            }
        };
        Ok(())
    }

    async fn remove_destination(&self, tx: &mut Tx<'_>, id: i64) -> Result<(), Failure> {
        for sql in [
            "UPDATE mappings SET removed_at = $1, enabled = false
             WHERE destination_id = $2 AND removed_at IS NULL",
            "UPDATE destinations SET removed_at = $1, enabled = false WHERE id = $2",
        ] {
            tx.execute(sql, params![self.act.at.as_micros(), id]).await?;
        }
        for sql in [
            "DELETE FROM shared_secrets WHERE destination_id = $1",
            "DELETE FROM credentials WHERE destination_id = $1",
            "DELETE FROM connections WHERE destination_id = $1",
            "DELETE FROM pauses WHERE kind = 'destination' AND subject_id = $1",
            "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id IN
                (SELECT id FROM mappings WHERE destination_id = $1)",
            "DELETE FROM receiver_waits WHERE mapping_id IN
                (SELECT id FROM mappings WHERE destination_id = $1)",
        ] {
            tx.execute(sql, params![id]).await?;
        }
        Ok(())
    }

    async fn put_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
        enabled: bool,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let resumed_at = tx.clock.service_now().as_micros();
        let found = tx
            .first(
                "SELECT m.id, r.number, r.definition FROM mappings AS m
             JOIN mapping_revisions AS r ON r.id = m.revision_id
             WHERE m.destination_id = $1 AND m.name = $2 AND m.removed_at IS NULL",
                params![destination_id, name],
                |row| {
                    let mut from = Columns::from(row, 0);
                    Ok((from.take()?, from.take()?, from.take()?))
                },
            )
            .await?;
        let Some((id, number, current)): Option<(i64, i64, String)> = found else {
            return self.add_mapping(tx, destination_id, name, enabled, definition).await;
        };
        tx.execute(
            "UPDATE mappings SET enabled = $1,
                resumed_at = CASE WHEN $1::boolean AND NOT enabled THEN $2 ELSE resumed_at END
             WHERE id = $3",
            params![enabled, resumed_at, id],
        )
        .await?;
        let current: MappingDefinition = from_json("a mapping definition", &current)?;
        if current != *definition {
            self.add_revision(tx, id, number + 1, definition).await?;
        }
        Ok(())
    }

    async fn add_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
        enabled: bool,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let next = "SELECT nextval(pg_get_serial_sequence('mappings', 'id'))";
        let id: i64 = tx.one(next, params![], |row| Ok(row.try_get(0)?)).await?;
        let revision_id = self.insert_revision(tx, id, 1, definition).await?;
        tx.execute(
            "INSERT INTO mappings
                (id, destination_id, name, enabled, resumed_at, revision_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            params![
                id,
                destination_id,
                name,
                enabled,
                tx.clock.service_now().as_micros(),
                revision_id,
                self.act.at.as_micros()
            ],
        )
        .await?;
        Ok(())
    }

    async fn add_revision(
        &self,
        tx: &mut Tx<'_>,
        mapping_id: i64,
        number: i64,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let id = self.insert_revision(tx, mapping_id, number, definition).await?;
        tx.execute("UPDATE mappings SET revision_id = $1 WHERE id = $2", params![id, mapping_id])
            .await?;
        Ok(())
    }

    async fn insert_revision(
        &self,
        tx: &mut Tx<'_>,
        mapping_id: i64,
        number: i64,
        definition: &MappingDefinition,
    ) -> Result<i64, Failure> {
        let id = tx.one(
            "INSERT INTO mapping_revisions (mapping_id, number, definition, created_at, created_by)
             VALUES ($1, $2, $3, $4, $5) RETURNING id",
            params![
                mapping_id,
                number,
                to_json(definition)?,
                self.act.at.as_micros(),
                &self.act.actor
            ],
            |row| Ok(row.try_get(0)?),
        ).await?;
        Ok(id)
    }

    async fn remove_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
    ) -> Result<(), Failure> {
        let removed = tx
            .execute(
                "UPDATE mappings SET removed_at = $1, enabled = false
             WHERE destination_id = $2 AND name = $3 AND removed_at IS NULL",
                params![self.act.at.as_micros(), destination_id, name],
            )
            .await?;
        if removed == 0 {
            return Err(StoreError::Conflict.into());
        }
        for sql in [
            "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id IN (SELECT id FROM mappings
                WHERE destination_id = $1 AND name = $2 AND removed_at IS NOT NULL)",
            "DELETE FROM receiver_waits WHERE mapping_id IN (SELECT id FROM mappings
                WHERE destination_id = $1 AND name = $2 AND removed_at IS NOT NULL)",
        ] {
            tx.execute(sql, params![destination_id, name]).await?;
        }
        Ok(())
    }
}

async fn source_id(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = tx
        .first(
            "SELECT id FROM sources WHERE name = $1 AND removed_at IS NULL",
            params![name],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    Ok(id)
}

async fn destination_id(tx: &mut Tx<'_>, source: &str, name: &str) -> Result<i64, Failure> {
    let id = tx
        .first(
            "SELECT d.id FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
         WHERE s.name = $1 AND s.removed_at IS NULL AND d.name = $2 AND d.removed_at IS NULL",
            params![source, name],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    expected(id)
}

async fn put_source_limits(
    tx: &mut Tx<'_>,
    name: &str,
    limits: &SourceLimits,
) -> Result<(), Failure> {
    let id = expected(source_id(tx, name).await?)?;
    let limits = (*limits != SourceLimits::default()).then(|| to_json(limits)).transpose()?;
    tx.execute("UPDATE sources SET limits = $1 WHERE id = $2", params![limits, id]).await?;
    Ok(())
}

async fn put_write_key(
    tx: &mut Tx<'_>,
    source: &str,
    digest: &[u8; 32],
    sealed: &SealedSecret,
) -> Result<(), Failure> {
    let source_id = expected(source_id(tx, source).await?)?;
    tx.execute(
        "DELETE FROM write_keys WHERE digest = $1 AND source_id <> $2",
        params![&digest[..], source_id],
    )
    .await?;
    tx.execute(
        "INSERT INTO write_keys
            (source_id, digest, sealed_id, key_id, sealed, created_at, retires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
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
    )
    .await?;
    Ok(())
}

async fn put_shared_secret(
    tx: &mut Tx<'_>,
    destination_id: i64,
    secret: Option<&SealedSecret>,
    retire_at: ServiceTime,
) -> Result<(), Failure> {
    let Some(secret) = secret else {
        tx.execute("DELETE FROM shared_secrets WHERE destination_id = $1", params![destination_id])
            .await?;
        return Ok(());
    };
    tx.execute(
        "DELETE FROM shared_secrets WHERE destination_id = $1 AND retires_at IS NOT NULL",
        params![destination_id],
    )
    .await?;
    tx.execute(
        "UPDATE shared_secrets SET retires_at = $1 WHERE destination_id = $2",
        params![retire_at.as_micros(), destination_id],
    )
    .await?;
    tx.execute(
        "INSERT INTO shared_secrets (destination_id, sealed_id, key_id, sealed, created_at)
         VALUES ($1, $2, $3, $4, $5)",
        params![
            destination_id,
            &secret.id[..],
            &secret.key_id,
            &secret.sealed,
            secret.created_at.as_micros()
        ],
    )
    .await?;
    Ok(())
}
