//! Deliveries of removed mappings: how many wait, and their end as dead letters.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use sqlx::sqlite::SqliteConnection;

use super::writer::step::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::store::failure::Failure;
use crate::store::row::count;

const PENDING: &str =
    "SELECT m.value, (SELECT count(*) FROM deliveries INDEXED BY deliveries_pending
        WHERE state = 'pending' AND mapping_id = m.value)
     FROM json_each(?) AS m";
const PENDING_AT_MOST: &str = "SELECT m.value, (SELECT count(*) FROM
        (SELECT 1 FROM deliveries INDEXED BY deliveries_pending
            WHERE state = 'pending' AND mapping_id = m.value LIMIT ?2))
     FROM json_each(?1) AS m";
const LEASED: &str = "SELECT mapping_id, count(*) FROM deliveries INDEXED BY deliveries_leased
     WHERE state = 'leased' AND mapping_id IN (SELECT value FROM json_each(?)) GROUP BY mapping_id";
const END: &str = "UPDATE deliveries SET state = 'dead', reason = 'removed', due_at = NULL,
        settled_at = ?1
     WHERE id IN (
        SELECT d.id FROM mappings AS m CROSS JOIN deliveries AS d INDEXED BY deliveries_pending
        WHERE m.removed_at IS NOT NULL AND d.mapping_id = m.id AND d.state = 'pending'
        LIMIT ?2)
     RETURNING mapping_id";

/// How many deliveries of each mapping are pending, up to a limit for each; those with none are left out.
pub(super) async fn pending(
    conn: &mut SqliteConnection,
    mappings: &[MappingId],
    at_most: u32,
) -> Result<BTreeMap<MappingId, u64>, sqlx::Error> {
    let ids = serde_json::Value::from_iter(mappings.iter().map(|it| it.0)).to_string();
    let rows: Vec<(i64, i64)> =
        sqlx::query_as(PENDING_AT_MOST).bind(&ids).bind(at_most).fetch_all(conn).await?;
    let found = rows.into_iter().filter(|(_, found)| *found > 0);
    Ok(found.map(|(mapping_id, found)| (MappingId(mapping_id), count(found))).collect())
}

/// How many deliveries of each mapping are pending or leased, on a reader; those with none are left out.
pub(super) async fn waiting(
    conn: &mut SqliteConnection,
    mappings: &[MappingId],
) -> Result<BTreeMap<MappingId, u64>, sqlx::Error> {
    let ids = serde_json::Value::from_iter(mappings.iter().map(|it| it.0)).to_string();
    let mut waiting = BTreeMap::new();
    for sql in [PENDING, LEASED] {
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(&ids).fetch_all(&mut *conn).await?;
        for (mapping_id, found) in rows.into_iter().filter(|(_, found)| *found > 0) {
            *waiting.entry(MappingId(mapping_id)).or_default() += count(found);
        }
    }
    Ok(waiting)
}

/// Makes dead letters of pending deliveries of removed mappings.
#[derive(Debug)]
pub(super) struct EndRemoved {
    pub(super) now: Timestamp,
    pub(super) limit: u32,
}

impl Step for EndRemoved {
    type Answer = Vec<(MappingId, u64)>;
    const CONTEXT: &'static str = "end the deliveries of removed mappings";

    fn bulk_rows(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Failure> {
        let values = params![self.now.as_micros(), i64::from(self.limit)];
        let read = |row: &Row<'_>| row.get(0).map(MappingId);
        let ended: Vec<MappingId> = tx.sqlite.all::<_, rusqlite::Error>(END, values, read)?;
        let mut counts = BTreeMap::new();
        for mapping_id in ended {
            *counts.entry(mapping_id).or_insert(0) += 1;
        }
        let sum: u64 = counts.values().sum();
        let ledger = &mut tx.state.ledger;
        ledger.pending = ledger.pending.saturating_sub(sum);
        ledger.dead += sum;
        counts
            .iter()
            .for_each(|(mapping_id, count)| tx.statistics.counts().dead(*mapping_id, *count));
        Ok(counts.into_iter().collect())
    }
}
