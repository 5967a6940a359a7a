//! Renames of sources, destinations and mappings: the row stays, and with it deliveries, revisions and
//! secrets. Each has an audit entry under its new path.

use serde_json::json;
use sqlx::Row as _;

use super::audit;
use super::tx::{Tx, Values, params};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::store::failure::Failure;
use crate::store::{PipelineChange, StoreError};

const SOURCE: &str = "SELECT id FROM sources WHERE name = $1 AND removed_at IS NULL";
const DESTINATION: &str =
    "SELECT d.id FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
     WHERE s.name = $1 AND s.removed_at IS NULL AND d.name = $2 AND d.removed_at IS NULL";
const MAPPING: &str = "SELECT m.id FROM mappings AS m
     JOIN destinations AS d ON d.id = m.destination_id JOIN sources AS s ON s.id = d.source_id
     WHERE s.name = $1 AND s.removed_at IS NULL AND d.name = $2 AND d.removed_at IS NULL
        AND m.name = $3 AND m.removed_at IS NULL";

/// A row and its names.
struct Renamed<'c> {
    update: &'static str,
    id: i64,
    /// The names that lead to it, its own last, as they were.
    path: Vec<&'c str>,
    to: &'c str,
}

/// Runs the renames among the changes.
pub(super) async fn rename(
    tx: &mut Tx<'_>,
    changes: &[PipelineChange],
    act: &Act,
) -> Result<(), Failure> {
    let mut found: Vec<Renamed<'_>> = Vec::new();
    for change in changes {
        found.extend(find(tx, change).await?);
    }
    // All give up their names before any takes its new one, so that names can be exchanged. No name
    // has a line break.
    for it in &found {
        tx.execute(it.update, params![format!("\n{}", it.id), it.id]).await?;
    }
    for it in &found {
        tx.execute(it.update, params![it.to, it.id]).await?;
    }
    let entry = |it: &Renamed<'_>| NewEntry {
        action: Action::Change,
        subject: subject(it, &found),
        before: it.path.last().map(|name| json!({"name": name})),
        after: Some(json!({"name": it.to})),
    };
    let entries: Vec<NewEntry> = found.iter().map(entry).collect();
    audit::append_all(tx, act, &entries).await
}

/// The path after all renames.
fn subject(it: &Renamed<'_>, all: &[Renamed<'_>]) -> String {
    let steps = (1..=it.path.len()).map(|length| {
        let path = &it.path[..length];
        let renamed = all.iter().find(|one| one.path == path);
        renamed.map_or(path[length - 1], |one| one.to)
    });
    steps.collect::<Vec<_>>().join("/")
}

async fn find<'c>(
    tx: &mut Tx<'_>,
    change: &'c PipelineChange,
) -> Result<Option<Renamed<'c>>, Failure> {
    let (sql, update, path, to) = match change {
        PipelineChange::RenameSource { source, to } => {
            (SOURCE, "UPDATE sources SET name = $1 WHERE id = $2", vec![source.as_str()], to)
        }
        PipelineChange::RenameDestination { source, destination, to } => (
            DESTINATION,
            "UPDATE destinations SET name = $1 WHERE id = $2",
            vec![source.as_str(), destination],
            to,
        ),
        PipelineChange::RenameMapping { source, destination, mapping, to } => (
            MAPPING,
            "UPDATE mappings SET name = $1 WHERE id = $2",
            vec![source.as_str(), destination, mapping],
            to,
        ),
        PipelineChange::PutSource { .. }
        | PipelineChange::PutSourceLimits { .. }
        | PipelineChange::PutWriteKey { .. }
        | PipelineChange::RemoveSource { .. }
        | PipelineChange::PutDestination { .. }
        | PipelineChange::PutSharedSecret { .. }
        | PipelineChange::PutCredential { .. }
        | PipelineChange::Disconnect { .. }
        | PipelineChange::RemoveDestination { .. }
        | PipelineChange::PutMapping { .. }
        | PipelineChange::RemoveMapping { .. } => return Ok(None),
    };
    let mut names = Values::default();
    for name in &path {
        names.push(*name);
    }
    let id: Option<i64> = tx.first(sql, names, |row| Ok(row.try_get(0)?)).await?;
    let id = id.ok_or(Failure::Refused(StoreError::Conflict))?;
    Ok(Some(Renamed { update, id, path, to }))
}
