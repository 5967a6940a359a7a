//! Changing what is set up: each change of a request in its order, in one commit with the version
//! check. Names are the identity; nothing that history may point at is deleted.

use sqlx::Row;

use super::credential;
use super::failure::Failure;
use super::pipeline::json;
use super::row::foreign;
use super::snapshot::Before;
use super::writer::{Step, Tx};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::destination::DestinationSettings;
use crate::domain::mapping::MappingDefinition;
use crate::store::{PipelineChange, SealedSecret, StoreError};

/// The kind of auth under which deliveries may be held: what stops being so resumes.
const NEEDS_CONNECTION: &str = "authorization_code";

/// All changes of a request.
#[derive(Debug)]
pub(super) struct ChangePipeline {
    pub(super) expected_version: i64,
    pub(super) changes: Vec<PipelineChange>,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for ChangePipeline {
    type Answer = i64;
    const CONTEXT: &'static str = "change the pipeline";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let version: i64 =
            sqlx::query_scalar("SELECT version FROM pipeline").fetch_one(&mut *tx.conn).await?;
        if version != self.expected_version {
            return Err(StoreError::Conflict.into());
        }
        let before = Before::read(tx, &self.changes).await?;
        for change in &self.changes {
            self.make(tx, change).await?;
        }
        before.tell(tx, &self.act).await?;
        let version = version + 1;
        sqlx::query("UPDATE pipeline SET version = ?").bind(version).execute(&mut *tx.conn).await?;
        Ok(version)
    }
}

/// A source's or destination's name that a change builds on; without it the request was made
/// against another state of the pipeline.
fn expected(found: Option<i64>) -> Result<i64, Failure> {
    found.ok_or(Failure::Refused(StoreError::Conflict))
}

impl ChangePipeline {
    async fn make(&self, tx: &mut Tx<'_>, change: &PipelineChange) -> Result<(), Failure> {
        match change {
            PipelineChange::PutSource { source, enabled } => {
                self.put_source(tx, source, *enabled).await
            }
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
        let query = match source_id(tx, name).await? {
            Some(id) => {
                sqlx::query("UPDATE sources SET enabled = ? WHERE id = ?").bind(enabled).bind(id)
            }
            None => sqlx::query("INSERT INTO sources (name, enabled, created_at) VALUES (?, ?, ?)")
                .bind(name.to_owned())
                .bind(enabled)
                .bind(self.act.at.as_micros()),
        };
        query.execute(&mut *tx.conn).await?;
        Ok(())
    }

    async fn remove_source(&self, tx: &mut Tx<'_>, source_id: i64) -> Result<(), Failure> {
        let destinations: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM destinations WHERE source_id = ? AND removed_at IS NULL",
        )
        .bind(source_id)
        .fetch_all(&mut *tx.conn)
        .await?;
        for destination_id in destinations {
            self.remove_destination(tx, destination_id).await?;
        }
        sqlx::query("DELETE FROM write_keys WHERE source_id = ?")
            .bind(source_id)
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query("UPDATE sources SET removed_at = ?, enabled = 0 WHERE id = ?")
            .bind(self.act.at.as_micros())
            .bind(source_id)
            .execute(&mut *tx.conn)
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
        let now = self.act.at.as_micros();
        let found = sqlx::query(
            "SELECT id FROM destinations
             WHERE source_id = ? AND name = ? AND removed_at IS NULL",
        )
        .bind(source_id)
        .bind(name)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let query = match found {
            Some(row) => sqlx::query(
                "UPDATE destinations SET settings = ?1, enabled = ?2,
                    resumed_at = CASE WHEN ?2 AND NOT enabled THEN ?3
                        WHEN NOT ?5 AND json_extract(settings, '$.auth.kind') = ?6 THEN ?3
                        ELSE resumed_at END
                 WHERE id = ?4",
            )
            .bind(settings)
            .bind(enabled)
            .bind(now)
            .bind(row.try_get::<i64, _>(0)?)
            .bind(auth.needs_connection())
            .bind(NEEDS_CONNECTION),
            None => sqlx::query(
                "INSERT INTO destinations
                    (source_id, name, settings, enabled, resumed_at, created_at)
                 VALUES (?4, ?5, ?1, ?2, ?3, ?3)",
            )
            .bind(settings)
            .bind(enabled)
            .bind(now)
            .bind(source_id)
            .bind(name.to_owned()),
        };
        query.execute(&mut *tx.conn).await?;
        Ok(())
    }

    async fn remove_destination(&self, tx: &mut Tx<'_>, id: i64) -> Result<(), Failure> {
        for sql in [
            "UPDATE mappings SET removed_at = ?, enabled = 0
             WHERE destination_id = ? AND removed_at IS NULL",
            "UPDATE destinations SET removed_at = ?, enabled = 0 WHERE id = ?",
        ] {
            sqlx::query(sql).bind(self.act.at.as_micros()).bind(id).execute(&mut *tx.conn).await?;
        }
        for sql in [
            "DELETE FROM shared_secrets WHERE destination_id = ?",
            "DELETE FROM credentials WHERE destination_id = ?",
            "DELETE FROM connections WHERE destination_id = ?",
        ] {
            sqlx::query(sql).bind(id).execute(&mut *tx.conn).await?;
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
        let now = self.act.at.as_micros();
        let found = sqlx::query(
            "SELECT m.id, r.number, r.definition FROM mappings AS m
             JOIN mapping_revisions AS r ON r.id = m.revision_id
             WHERE m.destination_id = ? AND m.name = ? AND m.removed_at IS NULL",
        )
        .bind(destination_id)
        .bind(name)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some(row) = found else {
            return self.add_mapping(tx, destination_id, name, enabled, definition).await;
        };
        let id: i64 = row.try_get(0)?;
        sqlx::query(
            "UPDATE mappings SET enabled = ?1,
                resumed_at = CASE WHEN ?1 AND NOT enabled THEN ?2 ELSE resumed_at END
             WHERE id = ?3",
        )
        .bind(enabled)
        .bind(now)
        .bind(id)
        .execute(&mut *tx.conn)
        .await?;
        let current: MappingDefinition = json("a mapping definition", row.try_get(2)?)?;
        // Written-out text is compared too: the order of an object's keys is part of what it says.
        if current != *definition || to_json(&current)? != to_json(definition)? {
            let number: i64 = row.try_get(1)?;
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
        let done = sqlx::query(
            "INSERT INTO mappings
                (destination_id, name, enabled, resumed_at, revision_id, created_at)
             VALUES (?1, ?2, ?3, ?4, 0, ?4)",
        )
        .bind(destination_id)
        .bind(name)
        .bind(enabled)
        .bind(self.act.at.as_micros())
        .execute(&mut *tx.conn)
        .await?;
        self.add_revision(tx, done.last_insert_rowid(), 1, definition).await
    }

    async fn add_revision(
        &self,
        tx: &mut Tx<'_>,
        mapping_id: i64,
        number: i64,
        definition: &MappingDefinition,
    ) -> Result<(), Failure> {
        let done = sqlx::query(
            "INSERT INTO mapping_revisions (mapping_id, number, definition, created_at, created_by)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(mapping_id)
        .bind(number)
        .bind(to_json(definition)?)
        .bind(self.act.at.as_micros())
        .bind(&self.act.actor)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query("UPDATE mappings SET revision_id = ? WHERE id = ?")
            .bind(done.last_insert_rowid())
            .bind(mapping_id)
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }

    async fn remove_mapping(
        &self,
        tx: &mut Tx<'_>,
        destination_id: i64,
        name: &str,
    ) -> Result<(), Failure> {
        let done = sqlx::query(
            "UPDATE mappings SET removed_at = ?, enabled = 0
             WHERE destination_id = ? AND name = ? AND removed_at IS NULL",
        )
        .bind(self.act.at.as_micros())
        .bind(destination_id)
        .bind(name)
        .execute(&mut *tx.conn)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Conflict.into());
        }
        Ok(())
    }
}

async fn source_id(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = sqlx::query_scalar("SELECT id FROM sources WHERE name = ? AND removed_at IS NULL")
        .bind(name)
        .fetch_optional(&mut *tx.conn)
        .await?;
    Ok(id)
}

async fn destination_id(tx: &mut Tx<'_>, source: &str, name: &str) -> Result<i64, Failure> {
    let id = sqlx::query_scalar(
        "SELECT d.id FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
         WHERE s.name = ? AND s.removed_at IS NULL AND d.name = ? AND d.removed_at IS NULL",
    )
    .bind(source)
    .bind(name)
    .fetch_optional(&mut *tx.conn)
    .await?;
    expected(id)
}

async fn put_write_key(
    tx: &mut Tx<'_>,
    source: &str,
    digest: &[u8; 32],
    sealed: &SealedSecret,
) -> Result<(), Failure> {
    let source_id = expected(source_id(tx, source).await?)?;
    sqlx::query(
        "INSERT INTO write_keys
            (source_id, digest, sealed_id, key_id, sealed, created_at, retires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (source_id) DO UPDATE SET digest = excluded.digest,
            sealed_id = excluded.sealed_id, key_id = excluded.key_id, sealed = excluded.sealed,
            created_at = excluded.created_at, retires_at = excluded.retires_at",
    )
    .bind(source_id)
    .bind(&digest[..])
    .bind(&sealed.id[..])
    .bind(&sealed.key_id)
    .bind(&sealed.sealed)
    .bind(sealed.created_at.as_micros())
    .bind(sealed.retires_at.map(Timestamp::as_micros))
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

async fn put_shared_secret(
    tx: &mut Tx<'_>,
    destination_id: i64,
    secret: Option<&SealedSecret>,
    retire_at: Timestamp,
) -> Result<(), Failure> {
    let Some(secret) = secret else {
        sqlx::query("DELETE FROM shared_secrets WHERE destination_id = ?")
            .bind(destination_id)
            .execute(&mut *tx.conn)
            .await?;
        return Ok(());
    };
    sqlx::query("DELETE FROM shared_secrets WHERE destination_id = ? AND retires_at IS NOT NULL")
        .bind(destination_id)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query("UPDATE shared_secrets SET retires_at = ? WHERE destination_id = ?")
        .bind(retire_at.as_micros())
        .bind(destination_id)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query(
        "INSERT INTO shared_secrets (destination_id, sealed_id, key_id, sealed, created_at)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(destination_id)
    .bind(&secret.id[..])
    .bind(&secret.key_id)
    .bind(&secret.sealed)
    .bind(secret.created_at.as_micros())
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// JSON text of what this program defines.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| foreign("a value", &error.to_string()))
}
