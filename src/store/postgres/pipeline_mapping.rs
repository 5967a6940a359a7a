//! Changes of mappings. A definition that differs from the current one becomes a new revision.

use std::collections::HashMap;

use sqlx::Row as _;

use super::pipeline_batch::{NewMapping, Path};
use super::pipeline_paths::destination_ids;
use super::rows::NewRows;
use super::tx::{Tx, params};
use crate::domain::auth::Act;
use crate::domain::mapping::MappingDefinition;
use crate::store::StoreError;
use crate::store::failure::Failure;
use crate::store::row::{Columns, from_json, to_json};

/// Mappings that exist, with their current revision.
const CURRENT: &str = "SELECT g.number, m.id, r.number, r.definition
     FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS g (destination_id, name, number)
     JOIN mappings AS m ON m.destination_id = g.destination_id AND m.name = g.name
        AND m.removed_at IS NULL
     JOIN mapping_revisions AS r ON r.id = m.revision_id";

/// Keys for so many mappings and so many revisions.
const KEYS: &str =
    "SELECT CASE WHEN n <= $1 THEN nextval(pg_get_serial_sequence('mappings', 'id')) END,
        nextval(pg_get_serial_sequence('mapping_revisions', 'id'))
     FROM generate_series(1, $2::bigint) AS n";

/// Creates and changes mappings.
pub(super) async fn put(
    tx: &mut Tx<'_>,
    given: &[NewMapping<'_>],
    act: &Act,
) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let paths: Vec<Path<'_>> = given.iter().map(|it| it.path).collect();
    let destinations = destination_ids(tx, &paths).await?;
    let names: Vec<&str> = given.iter().map(|it| it.name).collect();
    let current: Vec<(i64, (i64, i64, String))> = tx
        .all(CURRENT, params![destinations, names], |row| {
            let mut from = Columns::from(row, 0);
            Ok((from.take()?, (from.take()?, from.take()?, from.take()?)))
        })
        .await?;
    let current: HashMap<i64, (i64, i64, String)> = current.into_iter().collect();
    let (mut kept, mut kept_enabled, mut changed, mut new) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((number, destination_id), given) in (1..).zip(destinations).zip(given) {
        let Some((id, revision, definition)) = current.get(&number) else {
            new.push((destination_id, given));
            continue;
        };
        kept.push(*id);
        kept_enabled.push(given.enabled);
        let definition: MappingDefinition = from_json("a mapping definition", definition)?;
        if definition != *given.definition {
            changed.push((*id, revision + 1, given.definition));
        }
    }
    tx.execute(
        "UPDATE mappings AS m SET enabled = g.enabled,
            resumed_at = CASE WHEN g.enabled AND NOT m.enabled THEN $3 ELSE m.resumed_at END
         FROM unnest($1::bigint[], $2::boolean[]) AS g (id, enabled) WHERE m.id = g.id",
        params![kept, kept_enabled, tx.clock.service_now().as_micros()],
    )
    .await?;
    insert(tx, &new, &changed, act).await
}

/// Inserts new mappings with their first revisions, and the next revisions of others.
async fn insert(
    tx: &mut Tx<'_>,
    new: &[(i64, &NewMapping<'_>)],
    changed: &[(i64, i64, &MappingDefinition)],
    act: &Act,
) -> Result<(), Failure> {
    let count = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let keys: Vec<(Option<i64>, i64)> = tx
        .all(KEYS, params![count(new.len()), count(new.len() + changed.len())], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?))
        })
        .await?;
    let (mut mappings, mut revisions) = (NewRows::default(), NewRows::default());
    let resumed_at = tx.clock.service_now().as_micros();
    let mut revision = |id: i64, of: (i64, i64), definition: &MappingDefinition| {
        let row = revisions.row().int(id).int(of.0).int(of.1).text(&to_json(definition)?);
        row.int(act.at.as_micros()).text(&act.actor);
        Ok::<_, Failure>(())
    };
    let first = keys.iter().filter_map(|(mapping_id, id)| Some(((*mapping_id)?, *id)));
    for ((mapping_id, id), (destination_id, given)) in first.zip(new) {
        revision(id, (mapping_id, 1), given.definition)?;
        mappings
            .row()
            .int(mapping_id)
            .int(*destination_id)
            .text(given.name)
            .flag(given.enabled)
            .int(resumed_at)
            .int(id)
            .int(act.at.as_micros());
    }
    let (mut ids, mut current) = (Vec::new(), Vec::new());
    let next = keys.iter().filter(|(mapping_id, _)| mapping_id.is_none());
    for ((_, id), (mapping_id, number, definition)) in next.zip(changed) {
        revision(*id, (*mapping_id, *number), definition)?;
        ids.push(*mapping_id);
        current.push(*id);
    }
    revisions
        .insert(
            tx.conn,
            "mapping_revisions (id, mapping_id, number, definition, created_at, created_by)",
        )
        .await?;
    mappings
        .insert(
            tx.conn,
            "mappings (id, destination_id, name, enabled, resumed_at, revision_id, created_at)",
        )
        .await?;
    tx.execute(
        "UPDATE mappings AS m SET revision_id = g.revision_id
         FROM unnest($1::bigint[], $2::bigint[]) AS g (id, revision_id) WHERE m.id = g.id",
        params![ids, current],
    )
    .await?;
    Ok(())
}

/// Marks mappings as removed.
pub(super) async fn remove(
    tx: &mut Tx<'_>,
    given: &[(Path<'_>, &str)],
    act: &Act,
) -> Result<(), Failure> {
    if given.is_empty() {
        return Ok(());
    }
    let (paths, names): (Vec<Path<'_>>, Vec<&str>) = given.iter().copied().unzip();
    let destinations = destination_ids(tx, &paths).await?;
    let removed: Vec<i64> = tx
        .all(
            "UPDATE mappings AS m SET removed_at = $1, enabled = false
             FROM unnest($2::bigint[], $3::text[]) AS g (destination_id, name)
             WHERE m.destination_id = g.destination_id AND m.name = g.name AND m.removed_at IS NULL
             RETURNING m.id",
            params![act.at.as_micros(), destinations, names],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    if removed.len() < given.len() {
        return Err(StoreError::Conflict.into());
    }
    for sql in [
        "DELETE FROM pauses WHERE kind = 'mapping' AND subject_id = ANY ($1)",
        "DELETE FROM receiver_waits WHERE mapping_id = ANY ($1)",
    ] {
        tx.execute(sql, params![removed]).await?;
    }
    Ok(())
}
