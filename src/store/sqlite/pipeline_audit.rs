//! The audit entries of a pipeline change: each source, destination and mapping it names, before and after.
//! Of a secret they have whether it is set, since when, and a mark: the first bytes of its row's random id.

use rusqlite::params;
use serde_json::Value;

use super::audit;
use super::writer::step::Tx;
use crate::domain::auth::Act;
use crate::store::PipelineChange;
use crate::store::failure::Failure;
use crate::store::pipeline_subject::Subject;
use crate::store::row::from_json;

const SOURCE: &str = "
    SELECT json_object('enabled', json(iif(s.enabled, 'true', 'false')),
        'limits', json(s.limits), 'write_key', json((SELECT json_object('set_at', created_at,
            'mark', lower(hex(substr(sealed_id, 1, 4)))) FROM write_keys WHERE source_id = s.id)))
    FROM sources AS s WHERE s.name = ?1 AND s.removed_at IS NULL AND ?2 = '' AND ?3 = ''";

const DESTINATION: &str = "
    SELECT json_object('enabled', json(iif(d.enabled, 'true', 'false')),
        'settings', json(d.settings),
        'shared_secret', json((SELECT json_object('set_at', created_at,
            'mark', lower(hex(substr(sealed_id, 1, 4)))) FROM shared_secrets
            WHERE destination_id = d.id AND retires_at IS NULL)),
        'credentials', json((SELECT json_group_object(trim(slot || ' ' || header),
                json_object('set_at', created_at, 'mark', lower(hex(substr(sealed_id, 1, 4)))))
            FROM (SELECT slot, header, created_at, sealed_id FROM credentials
                WHERE destination_id = d.id ORDER BY slot, header))),
        'connected', json(iif(EXISTS (SELECT 1 FROM connections
            WHERE destination_id = d.id AND sealed IS NOT NULL), 'true', 'false')))
    FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
    WHERE s.name = ?1 AND s.removed_at IS NULL AND d.name = ?2 AND d.removed_at IS NULL
        AND ?3 = ''";

const MAPPING: &str = "
    SELECT json_object('enabled', json(iif(m.enabled, 'true', 'false')), 'revision', r.number,
        'definition', json(r.definition))
    FROM mappings AS m
    JOIN mapping_revisions AS r ON r.id = m.revision_id
    JOIN destinations AS d ON d.id = m.destination_id
    JOIN sources AS s ON s.id = d.source_id
    WHERE s.name = ?1 AND s.removed_at IS NULL AND d.name = ?2 AND d.removed_at IS NULL
        AND m.name = ?3 AND m.removed_at IS NULL";

const BELOW: &str = "
    SELECT s.name, d.name, m.name FROM sources AS s
    JOIN destinations AS d ON d.source_id = s.id AND d.removed_at IS NULL
    LEFT JOIN mappings AS m ON m.destination_id = d.id AND m.removed_at IS NULL
    WHERE s.name = ?1 AND s.removed_at IS NULL AND (?2 IS NULL OR d.name = ?2)";

/// What a request names, as it was before the request.
pub(super) struct Before(Vec<(Subject, Option<Value>)>);

impl Before {
    /// Reads what the changes name, and what they remove with it.
    pub(super) fn read(tx: &mut Tx<'_>, changes: &[PipelineChange]) -> Result<Self, Failure> {
        let mut subjects: Vec<Subject> = changes.iter().filter_map(Subject::of).collect();
        for change in changes {
            if let PipelineChange::RemoveSource { source } = change {
                subjects.extend(below(tx, source, None)?);
            }
            if let PipelineChange::RemoveDestination { source, destination } = change {
                subjects.extend(below(tx, source, Some(destination))?);
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        let mut found = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let before = read(tx, &subject)?;
            found.push((subject, before));
        }
        Ok(Self(found))
    }

    /// Appends an entry for each that has changed.
    pub(super) fn append_audit(self, tx: &mut Tx<'_>, act: &Act) -> Result<(), Failure> {
        for (subject, before) in self.0 {
            let after = read(tx, &subject)?;
            let Some(done) = subject.entry(before, after) else { continue };
            audit::append(tx, act, &done)?;
        }
        Ok(())
    }
}

/// The state of a subject; none when it does not exist.
fn read(tx: &mut Tx<'_>, subject: &Subject) -> Result<Option<Value>, Failure> {
    let sql = match subject {
        Subject::Source(_) => SOURCE,
        Subject::Destination(..) => DESTINATION,
        Subject::Mapping(..) => MAPPING,
    };
    let [source, destination, mapping] = subject.names();
    let found: Option<String> =
        tx.sqlite.first(sql, params![source, destination, mapping], |row| row.get(0))?;
    found.map(|text| from_json("an audit entry", &text)).transpose()
}

fn below(
    tx: &mut Tx<'_>,
    source: &str,
    destination: Option<&str>,
) -> Result<Vec<Subject>, Failure> {
    let rows: Vec<(String, String, Option<String>)> =
        tx.sqlite.all(BELOW, params![source, destination], |row| {
            Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(rows.into_iter().flat_map(Subject::below).collect())
}
