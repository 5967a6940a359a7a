//! Pipeline changes, in one commit with the version check. Names are the identity; rows that history may refer to
//! are marked as removed, not deleted. Changes are applied in batches, each kind by statements over arrays: a
//! request may have thousands.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;

use super::pipeline_audit::Before;
use super::pipeline_batch::{Batch, Path, batches};
use super::pipeline_paths::{destination_ids, source_ids};
use super::rows::NewRows;
use super::tx::{LONG, Step, Tx, params};
use super::{credential, pipeline_mapping, pipeline_rename};
use crate::domain::auth::Act;
use crate::domain::destination::DestinationSettings;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::SourceLimits;
use crate::store::failure::Failure;
use crate::store::row::to_json;
use crate::store::{PipelineChange, StoreError};

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
        // A large change makes large tables of small ones: a plan from before would be kept to its end.
        tx.execute("SET LOCAL plan_cache_mode = force_custom_plan", params![]).await?;
        pipeline_rename::rename(tx, &self.changes, &self.act).await?;
        let before = Before::read(tx, &self.changes).await?;
        for batch in batches(&self.changes) {
            apply(tx, &batch, &self.act).await?;
        }
        before.append_audit(tx, &self.act).await?;
        let version = version + 1;
        tx.execute("UPDATE pipeline SET version = $1", params![version]).await?;
        Ok(version)
    }
}

/// Applies a batch, kind by kind, in the order of its fields.
async fn apply(tx: &mut Tx<'_>, batch: &Batch<'_>, act: &Act) -> Result<(), Failure> {
    pipeline_mapping::remove(tx, &batch.removed_mappings, act).await?;
    if !batch.removed_destinations.is_empty() {
        let ids = destination_ids(tx, &batch.removed_destinations).await?;
        remove_destinations(tx, &ids, act).await?;
    }
    remove_sources(tx, &batch.removed_sources, act).await?;
    put_sources(tx, &batch.sources, act).await?;
    put_limits(tx, &batch.limits).await?;
    put_write_keys(tx, &batch.write_keys).await?;
    put_destinations(tx, &batch.destinations, act).await?;
    if !batch.disconnected.is_empty() {
        let (paths, faults): (Vec<Path<'_>>, Vec<&str>) =
            batch.disconnected.iter().copied().unzip();
        let ids = destination_ids(tx, &paths).await?;
        credential::disconnect(tx, &ids, &faults).await?;
    }
    put_shared_secrets(tx, &batch.shared_secrets).await?;
    if !batch.credentials.is_empty() {
        let paths: Vec<Path<'_>> = batch.credentials.iter().map(|(path, ..)| *path).collect();
        let ids = destination_ids(tx, &paths).await?;
        let given = batch.credentials.iter().map(|(_, slot, secret)| (*slot, *secret));
        credential::put(tx, ids.into_iter().zip(given).collect()).await?;
    }
    pipeline_mapping::put(tx, &batch.mappings, act).await
}

async fn remove_destinations(tx: &mut Tx<'_>, ids: &[i64], act: &Act) -> Result<(), Failure> {
    for sql in [
        "UPDATE mappings SET removed_at = $1, enabled = false
         WHERE destination_id = ANY ($2) AND removed_at IS NULL",
        "UPDATE destinations SET removed_at = $1, enabled = false WHERE id = ANY ($2)",
    ] {
        tx.execute(sql, params![act.at.as_micros(), ids]).await?;
    }
    for sql in [
        "DELETE FROM shared_secrets WHERE destination_id = ANY ($1)",
        "DELETE FROM credentials WHERE destination_id = ANY ($1)",
        "DELETE FROM connections WHERE destination_id = ANY ($1)",
        "DELETE FROM pauses WHERE kind = 'destination' AND subject_id = ANY ($1)",
        "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id IN
            (SELECT id FROM mappings WHERE destination_id = ANY ($1))",
        "DELETE FROM receiver_waits WHERE mapping_id IN
            (SELECT id FROM mappings WHERE destination_id = ANY ($1))",
    ] {
        tx.execute(sql, params![ids]).await?;
    }
    Ok(())
}

async fn remove_sources(tx: &mut Tx<'_>, names: &[&str], act: &Act) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let ids = source_ids(tx, names).await?;
    let below: Vec<i64> = tx
        .all(
            "SELECT id FROM destinations WHERE source_id = ANY ($1) AND removed_at IS NULL",
            params![ids],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    remove_destinations(tx, &below, act).await?;
    tx.execute("DELETE FROM write_keys WHERE source_id = ANY ($1)", params![ids]).await?;
    tx.execute(
        "UPDATE sources SET removed_at = $1, enabled = false WHERE id = ANY ($2)",
        params![act.at.as_micros(), ids],
    )
    .await?;
    Ok(())
}

async fn put_sources(tx: &mut Tx<'_>, sources: &[(&str, bool)], act: &Act) -> Result<(), Failure> {
    if sources.is_empty() {
        return Ok(());
    }
    let (names, enabled): (Vec<&str>, Vec<bool>) = sources.iter().copied().unzip();
    tx.execute(
        "INSERT INTO sources (name, enabled, created_at)
         SELECT name, enabled, $3 FROM unnest($1::text[], $2::boolean[]) AS g (name, enabled)
         ON CONFLICT (name) WHERE removed_at IS NULL DO UPDATE SET enabled = excluded.enabled",
        params![names, enabled, act.at.as_micros()],
    )
    .await?;
    Ok(())
}

async fn put_limits(tx: &mut Tx<'_>, given: &[(&str, &SourceLimits)]) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    let ids = source_ids(tx, &names).await?;
    let text = |limits: &SourceLimits| {
        (*limits != SourceLimits::default()).then(|| to_json(limits)).transpose()
    };
    let limits: Vec<Option<String>> =
        given.iter().map(|(_, limits)| text(limits)).collect::<Result<_, _>>()?;
    tx.execute(
        "UPDATE sources AS s SET limits = g.limits
         FROM unnest($1::bigint[], $2::text[]) AS g (id, limits) WHERE s.id = g.id",
        params![ids, limits],
    )
    .await?;
    Ok(())
}

/// A key that another source has moves.
async fn put_write_keys(
    tx: &mut Tx<'_>,
    given: &[(&str, &[u8; 32], &SealedSecret)],
) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = given.iter().map(|(name, ..)| *name).collect();
    let ids = source_ids(tx, &names).await?;
    let digests: Vec<&[u8]> = given.iter().map(|(_, digest, _)| &digest[..]).collect();
    tx.execute(
        "DELETE FROM write_keys WHERE source_id = ANY ($1) OR digest = ANY ($2)",
        params![ids, digests],
    )
    .await?;
    let mut rows = NewRows::default();
    for (id, (_, digest, sealed)) in ids.iter().zip(given) {
        rows.row().int(*id).bytes(&digest[..]);
        credential::sealed(&mut rows, sealed)
            .maybe_int(sealed.retires_at.map(ServiceTime::as_micros));
    }
    rows.insert(
        tx.conn,
        "write_keys (source_id, digest, sealed_id, key_id, sealed, created_at, retires_at)",
    )
    .await
}

/// A destination that is enabled again, or needs no connection any more, begins a fresh window for what it held.
async fn put_destinations(
    tx: &mut Tx<'_>,
    given: &[(Path<'_>, bool, &DestinationSettings)],
    act: &Act,
) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = given.iter().map(|((source, _), ..)| *source).collect();
    let ids = source_ids(tx, &sources).await?;
    let names: Vec<&str> = given.iter().map(|((_, name), ..)| *name).collect();
    let enabled: Vec<bool> = given.iter().map(|(_, enabled, _)| *enabled).collect();
    let settings: Vec<String> =
        given.iter().map(|(.., settings)| to_json(settings)).collect::<Result<_, _>>()?;
    tx.execute(
        "INSERT INTO destinations AS d (source_id, name, settings, enabled, resumed_at, created_at)
         SELECT g.source_id, g.name, g.settings, g.enabled, $5, $6
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[])
            AS g (source_id, name, settings, enabled)
         ON CONFLICT (source_id, name) WHERE removed_at IS NULL DO UPDATE
         SET settings = excluded.settings, enabled = excluded.enabled, resumed_at = CASE
            WHEN excluded.enabled AND NOT d.enabled THEN excluded.resumed_at
            WHEN d.settings::json #>> '{auth,kind}' = 'authorization_code'
                AND excluded.settings::json #>> '{auth,kind}' IS DISTINCT FROM 'authorization_code'
                THEN excluded.resumed_at
            ELSE d.resumed_at END",
        params![
            ids,
            names,
            settings,
            enabled,
            tx.clock.service_now().as_micros(),
            act.at.as_micros(),
        ],
    )
    .await?;
    Ok(())
}

/// Of the secrets before, the latest stays valid until it retires.
async fn put_shared_secrets(
    tx: &mut Tx<'_>,
    given: &[(Path<'_>, Option<&SealedSecret>, ServiceTime)],
) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let paths: Vec<Path<'_>> = given.iter().map(|(path, ..)| *path).collect();
    let ids = destination_ids(tx, &paths).await?;
    let (mut removed, mut changed, mut retire_at) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = NewRows::default();
    for (id, (_, secret, retires)) in ids.into_iter().zip(given) {
        let Some(secret) = secret else {
            removed.push(id);
            continue;
        };
        changed.push(id);
        retire_at.push(retires.as_micros());
        credential::sealed(rows.row().int(id), secret);
    }
    tx.execute(
        "DELETE FROM shared_secrets WHERE destination_id = ANY ($1)
            OR (destination_id = ANY ($2) AND retires_at IS NOT NULL)",
        params![removed, changed],
    )
    .await?;
    tx.execute(
        "UPDATE shared_secrets AS s SET retires_at = g.retire_at
         FROM unnest($1::bigint[], $2::bigint[]) AS g (id, retire_at)
         WHERE s.destination_id = g.id",
        params![changed, retire_at],
    )
    .await?;
    rows.insert(tx.conn, "shared_secrets (destination_id, sealed_id, key_id, sealed, created_at)")
        .await
}
