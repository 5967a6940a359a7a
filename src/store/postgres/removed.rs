//! Deliveries of removed mappings: how many wait, and their end as dead letters.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::store::failure::Failure;
use crate::store::row::{count, int};
use async_trait::async_trait;

const PENDING: &str = "SELECT mapping_id, count(*) FROM pending WHERE mapping_id = ANY ($1)
     GROUP BY mapping_id";
const PENDING_AT_MOST: &str = "SELECT m.id, p.found FROM unnest($1::bigint[]) AS m (id)
     CROSS JOIN LATERAL (SELECT count(*) AS found FROM
        (SELECT 1 FROM pending WHERE mapping_id = m.id LIMIT $2) AS one) AS p
     WHERE p.found > 0";
const LEASED: &str = "SELECT mapping_id, count(*) FROM leased WHERE mapping_id = ANY ($1)
     GROUP BY mapping_id";
const END: &str = "WITH picked AS MATERIALIZED (
        SELECT p.at FROM mappings AS m CROSS JOIN LATERAL
            (SELECT ctid AS at FROM pending WHERE mapping_id = m.id LIMIT $2
             FOR UPDATE SKIP LOCKED) AS p
        WHERE m.removed_at IS NOT NULL LIMIT $2
     ), taken AS (
        DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT at FROM picked)) RETURNING *
     ), died AS (
        INSERT INTO dead (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
            tried, last_outcome, last_status, settled_at, reason)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status, $1, 'removed' FROM taken
     )
     SELECT mapping_id FROM taken";

/// How many deliveries of each mapping are pending, up to a limit for each; those with none are left out.
pub(super) async fn pending(
    conn: &mut PgConnection,
    mappings: &[MappingId],
    at_most: u32,
) -> Result<BTreeMap<MappingId, u64>, sqlx::Error> {
    let ids: Vec<i64> = mappings.iter().map(|it| it.0).collect();
    let rows: Vec<(i64, i64)> =
        sqlx::query_as(PENDING_AT_MOST).bind(ids).bind(i64::from(at_most)).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(mapping_id, found)| (MappingId(mapping_id), count(found))).collect())
}

/// How many deliveries of each mapping are pending or leased, on a reader; those with none are left out.
pub(super) async fn waiting(
    conn: &mut PgConnection,
    mappings: &[MappingId],
) -> Result<BTreeMap<MappingId, u64>, sqlx::Error> {
    let ids: Vec<i64> = mappings.iter().map(|it| it.0).collect();
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

#[async_trait]
impl Step for EndRemoved {
    type Answer = Vec<(MappingId, u64)>;
    const CONTEXT: &'static str = "end the deliveries of removed mappings";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Failure> {
        let values = params![self.now.as_micros(), i64::from(self.limit)];
        let ended = tx.all(END, values, |row| Ok(MappingId(row.try_get(0)?))).await?;
        let mut counts = BTreeMap::new();
        for mapping_id in ended {
            *counts.entry(mapping_id).or_insert(0) += 1;
        }
        let sum: u64 = counts.values().sum();
        tx.counts.ledger.pending -= int(sum);
        tx.counts.ledger.dead += int(sum);
        for (mapping_id, count) in &counts {
            tx.counts.statistics.dead(*mapping_id, *count);
        }
        Ok(counts.into_iter().collect())
    }
}
