//! The sources and destinations that changes of the pipeline name.

use sqlx::Row as _;

use super::pipeline_batch::Path;
use super::tx::{Tx, params};
use crate::store::StoreError;
use crate::store::failure::Failure;

/// What a change builds on. Where it is missing, the request was made against another state of the pipeline.
fn expected(found: Option<i64>) -> Result<i64, Failure> {
    found.ok_or(Failure::Refused(StoreError::Conflict))
}

/// The sources of these names.
pub(super) async fn source_ids(tx: &mut Tx<'_>, names: &[&str]) -> Result<Vec<i64>, Failure> {
    tx.all(
        "SELECT s.id FROM unnest($1::text[]) WITH ORDINALITY AS g (name, number)
         LEFT JOIN sources AS s ON s.name = g.name AND s.removed_at IS NULL ORDER BY g.number",
        params![names],
        |row| expected(row.try_get(0)?),
    )
    .await
}

/// The destinations of these paths.
pub(super) async fn destination_ids(
    tx: &mut Tx<'_>,
    paths: &[Path<'_>],
) -> Result<Vec<i64>, Failure> {
    let (sources, names): (Vec<&str>, Vec<&str>) = paths.iter().copied().unzip();
    tx.all(
        "SELECT d.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS g (source, name, number)
         LEFT JOIN sources AS s ON s.name = g.source AND s.removed_at IS NULL
         LEFT JOIN destinations AS d ON d.source_id = s.id AND d.name = g.name
            AND d.removed_at IS NULL
         ORDER BY g.number",
        params![sources, names],
        |row| expected(row.try_get(0)?),
    )
    .await
}
