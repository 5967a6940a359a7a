//! The audit entries of a pipeline change: each source, destination and mapping it names, before and after.
//! Of a secret they have whether it is set, since when, and a mark: the first bytes of its row's random id.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::Row as _;

use super::audit;
use super::tx::{Tx, params};
use crate::domain::auth::Act;
use crate::store::PipelineChange;
use crate::store::failure::Failure;
use crate::store::pipeline_subject::Subject;
use crate::store::row::from_json;

/// Subjects that one query reads.
const AT_ONCE: usize = 1_000;

const SOURCES: &str = "
    SELECT g.number, json_build_object('enabled', s.enabled, 'limits', s.limits::json,
        'write_key', (SELECT json_build_object('set_at', created_at,
            'mark', substr(encode(sealed_id, 'hex'), 1, 8)) FROM write_keys WHERE source_id = s.id))::text
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
        AS g (source, destination, mapping, number)
    JOIN sources AS s ON s.name = g.source AND s.removed_at IS NULL
    WHERE g.destination = ''";

const DESTINATIONS: &str = "
    SELECT g.number, json_build_object('enabled', d.enabled,
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
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
        AS g (source, destination, mapping, number)
    JOIN sources AS s ON s.name = g.source AND s.removed_at IS NULL
    JOIN destinations AS d ON d.source_id = s.id AND d.name = g.destination
        AND d.removed_at IS NULL
    WHERE g.destination <> '' AND g.mapping = ''";

const MAPPINGS: &str = "
    SELECT g.number, json_build_object('enabled', m.enabled, 'revision', m.number,
        'definition', m.definition::json)::text
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
        AS g (source, destination, mapping, number)
    CROSS JOIN LATERAL (SELECT d.id FROM sources AS s
        JOIN destinations AS d ON d.source_id = s.id AND d.removed_at IS NULL
        WHERE s.name = g.source AND s.removed_at IS NULL AND d.name = g.destination LIMIT 1) AS d
    CROSS JOIN LATERAL (SELECT m.enabled, r.number, r.definition FROM mappings AS m
        JOIN mapping_revisions AS r ON r.id = m.revision_id
        WHERE m.destination_id = d.id AND m.name = g.mapping AND m.removed_at IS NULL LIMIT 1) AS m
    WHERE g.mapping <> ''";

const BELOW: &str = "
    SELECT s.name, d.name, m.name
    FROM unnest($1::text[], $2::text[]) AS g (source, destination)
    JOIN sources AS s ON s.name = g.source AND s.removed_at IS NULL
    JOIN destinations AS d ON d.source_id = s.id AND d.removed_at IS NULL
        AND (g.destination = '' OR d.name = g.destination)
    LEFT JOIN mappings AS m ON m.destination_id = d.id AND m.removed_at IS NULL";

/// What a request names, as it was before the request.
pub(super) struct Before(Vec<(Subject, Option<Value>)>);

impl Before {
    /// Reads what the changes name, and what they remove with it.
    pub(super) async fn read(tx: &mut Tx<'_>, changes: &[PipelineChange]) -> Result<Self, Failure> {
        let mut subjects: Vec<Subject> = changes.iter().filter_map(Subject::of).collect();
        subjects.extend(below(tx, changes).await?);
        subjects.sort_unstable();
        subjects.dedup();
        let mut states = Vec::with_capacity(subjects.len());
        for part in subjects.chunks(AT_ONCE) {
            states.extend(read(tx, part).await?);
        }
        Ok(Self(subjects.into_iter().zip(states).collect()))
    }

    /// Appends an entry for each that has changed.
    pub(super) async fn append_audit(self, tx: &mut Tx<'_>, act: &Act) -> Result<(), Failure> {
        for part in self.0.chunks(AT_ONCE) {
            let subjects: Vec<Subject> = part.iter().map(|(subject, _)| subject.clone()).collect();
            let after = read(tx, &subjects).await?;
            let entries = part.iter().zip(after);
            let entries: Vec<_> = entries
                .filter_map(|((subject, before), after)| subject.entry(before.clone(), after))
                .collect();
            audit::append_all(tx, act, &entries).await?;
        }
        Ok(())
    }
}

/// The state of each subject; none where it does not exist.
async fn read(tx: &mut Tx<'_>, subjects: &[Subject]) -> Result<Vec<Option<Value>>, Failure> {
    let column = |at: usize| -> Vec<&str> { subjects.iter().map(|it| it.names()[at]).collect() };
    let names = [column(0), column(1), column(2)];
    let mut found: HashMap<i64, String> = HashMap::new();
    for sql in [SOURCES, DESTINATIONS, MAPPINGS] {
        let rows: Vec<(i64, String)> = tx
            .all(sql, params![names[0], names[1], names[2]], |row| {
                Ok((row.try_get(0)?, row.try_get(1)?))
            })
            .await?;
        found.extend(rows);
    }
    (1..)
        .zip(subjects)
        .map(|(number, _)| {
            found.get(&number).map(|text| from_json("an audit entry", text)).transpose()
        })
        .collect()
}

/// What is below the sources and destinations that are removed.
async fn below(tx: &mut Tx<'_>, changes: &[PipelineChange]) -> Result<Vec<Subject>, Failure> {
    let (mut sources, mut destinations) = (Vec::new(), Vec::new());
    for change in changes {
        if let PipelineChange::RemoveSource { source } = change {
            sources.push(source.as_str());
            destinations.push("");
        }
        if let PipelineChange::RemoveDestination { source, destination } = change {
            sources.push(source.as_str());
            destinations.push(destination.as_str());
        }
    }
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, Option<String>)> = tx
        .all(BELOW, params![sources, destinations], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        })
        .await?;
    Ok(rows.into_iter().flat_map(Subject::below).collect())
}
