//! The audit entries of a pipeline change: each source, destination and mapping it names, before and after.
//! Of a secret they have whether it is set, since when, and a mark: the first bytes of its row's random id.

use serde_json::Value;
use sqlx::Row as _;

use super::audit;
use super::tx::{Tx, params};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::json_diff::is_printed_alike;
use crate::store::PipelineChange;
use crate::store::failure::Failure;
use crate::store::row::from_json;

/// What a change names: a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Source(String),
    Destination(String, String),
    Mapping(String, String, String),
}

impl Subject {
    /// What a change names; none for a rename, which has an entry of its own.
    fn of(change: &PipelineChange) -> Option<Self> {
        Some(match change {
            PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. } => return None,
            PipelineChange::PutSource { source, .. }
            | PipelineChange::PutSourceLimits { source, .. }
            | PipelineChange::PutWriteKey { source, .. }
            | PipelineChange::RemoveSource { source } => Self::Source(source.clone()),
            PipelineChange::PutDestination { source, destination, .. }
            | PipelineChange::PutSharedSecret { source, destination, .. }
            | PipelineChange::PutCredential { source, destination, .. }
            | PipelineChange::Disconnect { source, destination, .. }
            | PipelineChange::RemoveDestination { source, destination } => {
                Self::Destination(source.clone(), destination.clone())
            }
            PipelineChange::PutMapping { source, destination, mapping, .. }
            | PipelineChange::RemoveMapping { source, destination, mapping } => {
                Self::Mapping(source.clone(), destination.clone(), mapping.clone())
            }
        })
    }

    fn path(&self) -> String {
        match self {
            Self::Source(source) => source.clone(),
            Self::Destination(source, destination) => format!("{source}/{destination}"),
            Self::Mapping(source, destination, mapping) => {
                format!("{source}/{destination}/{mapping}")
            }
        }
    }

    /// Its state for the audit log; none when it does not exist.
    async fn read(&self, tx: &mut Tx<'_>) -> Result<Option<Value>, Failure> {
        let (sql, source, destination, mapping) = match self {
            Self::Source(source) => (SOURCE, source, "", ""),
            Self::Destination(source, name) => (DESTINATION, source, name.as_str(), ""),
            Self::Mapping(source, destination, name) => {
                (MAPPING, source, destination.as_str(), name.as_str())
            }
        };
        let found: Option<String> =
            tx.first(sql, params![source, destination, mapping], |row| Ok(row.try_get(0)?)).await?;
        found.map(|text| from_json("an audit entry", &text)).transpose()
    }
}

const SOURCE: &str = "
    SELECT json_build_object('enabled', s.enabled, 'limits', s.limits::json,
        'write_key', (SELECT json_build_object('set_at', created_at,
            'mark', substr(encode(sealed_id, 'hex'), 1, 8)) FROM write_keys WHERE source_id = s.id))::text
    FROM sources AS s
    WHERE s.name = $1 AND s.removed_at IS NULL AND $2 = ''::text AND $3 = ''::text";

const DESTINATION: &str = "
    SELECT json_build_object('enabled', d.enabled,
        'settings', d.settings::json,
        'shared_secret', (SELECT json_build_object('set_at', created_at,
            'mark', substr(encode(sealed_id, 'hex'), 1, 8)) FROM shared_secrets
            WHERE destination_id = d.id AND retires_at IS NULL),
        'credentials', (SELECT coalesce(json_object_agg(trim(slot || ' ' || header),
                json_build_object('set_at', created_at, 'mark', substr(encode(sealed_id, 'hex'), 1, 8))
                ORDER BY slot, header), '{}')
            FROM credentials WHERE destination_id = d.id),
        'connected', EXISTS (SELECT 1 FROM connections
            WHERE destination_id = d.id AND sealed IS NOT NULL))::text
    FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
    WHERE s.name = $1 AND s.removed_at IS NULL AND d.name = $2 AND d.removed_at IS NULL
        AND $3 = ''::text";

const MAPPING: &str = "
    SELECT json_build_object('enabled', m.enabled, 'revision', r.number,
        'definition', r.definition::json)::text
    FROM mappings AS m
    JOIN mapping_revisions AS r ON r.id = m.revision_id
    JOIN destinations AS d ON d.id = m.destination_id
    JOIN sources AS s ON s.id = d.source_id
    WHERE s.name = $1 AND s.removed_at IS NULL AND d.name = $2 AND d.removed_at IS NULL
        AND m.name = $3 AND m.removed_at IS NULL";

const BELOW: &str = "
    SELECT s.name, d.name, m.name FROM sources AS s
    JOIN destinations AS d ON d.source_id = s.id AND d.removed_at IS NULL
    LEFT JOIN mappings AS m ON m.destination_id = d.id AND m.removed_at IS NULL
    WHERE s.name = $1 AND s.removed_at IS NULL AND ($2::text IS NULL OR d.name = $2)";

/// What a request names, as it was before the request.
pub(super) struct Before(Vec<(Subject, Option<Value>)>);

impl Before {
    /// Reads what the changes name, and what they remove with it.
    pub(super) async fn read(tx: &mut Tx<'_>, changes: &[PipelineChange]) -> Result<Self, Failure> {
        let mut subjects: Vec<Subject> = changes.iter().filter_map(Subject::of).collect();
        for change in changes {
            if let PipelineChange::RemoveSource { source } = change {
                subjects.extend(below(tx, source, None).await?);
            }
            if let PipelineChange::RemoveDestination { source, destination } = change {
                subjects.extend(below(tx, source, Some(destination)).await?);
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        let mut found = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let before = subject.read(tx).await?;
            found.push((subject, before));
        }
        Ok(Self(found))
    }

    /// Appends an entry for each that has changed.
    pub(super) async fn append_audit(self, tx: &mut Tx<'_>, act: &Act) -> Result<(), Failure> {
        for (subject, before) in self.0 {
            let after = subject.read(tx).await?;
            let action = match (&before, &after) {
                (None, Some(_)) => Action::Create,
                (Some(_), None) => Action::Remove,
                (Some(before), Some(after)) if !is_printed_alike(before, after) => Action::Change,
                (Some(_), Some(_)) | (None, None) => continue,
            };
            let done = NewEntry { action, subject: subject.path(), before, after };
            audit::append(tx, act, &done).await?;
        }
        Ok(())
    }
}

async fn below(
    tx: &mut Tx<'_>,
    source: &str,
    destination: Option<&str>,
) -> Result<Vec<Subject>, Failure> {
    let rows: Vec<(String, String, Option<String>)> = tx
        .all(BELOW, params![source, destination], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        })
        .await?;
    let subjects = rows.into_iter().flat_map(|(source, destination, mapping)| {
        let mapping =
            mapping.map(|name| Subject::Mapping(source.clone(), destination.clone(), name));
        [Some(Subject::Destination(source, destination)), mapping].into_iter().flatten()
    });
    Ok(subjects.collect())
}
