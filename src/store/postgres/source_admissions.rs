//! What each node has admitted from sources with limits, for the other nodes.

use async_trait::async_trait;

use super::tx::{Step, Tx, params};
use crate::domain::id::{NodeId, SourceId};
use crate::domain::source_limiter::{SourceUsage, UsageOfOthers};
use crate::store::failure::Failure;
use crate::store::row::{Columns, count, int};

const PUT: &str = "INSERT INTO source_admissions AS a (source_id, node_id, events)
     SELECT id, $1, events FROM unnest($2::bigint[], $3::bigint[]) AS g (id, events) ORDER BY id
     ON CONFLICT (source_id, node_id) DO UPDATE SET events = greatest(a.events, excluded.events)";
/// What ended nodes admitted counts as long as they may still be restarting.
const FORGET: &str = "DELETE FROM source_admissions AS a USING nodes AS n
     WHERE n.id = a.node_id AND n.ended_at IS NOT NULL AND a.node_id <> $1
        AND n.ended_at < (SELECT service_at FROM service_time) - 3600000000";
const OF_OTHERS: &str = "SELECT source_id, sum(events)::bigint FROM source_admissions
     WHERE node_id <> $1 AND source_id = ANY ($2) GROUP BY source_id";
/// A writer's number begins with its node's slot, as in the ledger.
const DAYS_OF_OTHERS: &str = "SELECT source_id, day, sum(events)::bigint FROM source_usage
     WHERE day >= $1 AND writer / 8 <> $2 AND source_id = ANY ($3) GROUP BY source_id, day";

/// Stores what this node has admitted, and reads what the others have.
#[derive(Debug)]
pub(super) struct ExchangeUsage {
    pub(super) node_id: NodeId,
    pub(super) admitted: Vec<(SourceId, u64)>,
    pub(super) since_day: i64,
}

#[async_trait]
impl Step for ExchangeUsage {
    type Answer = UsageOfOthers;
    const CONTEXT: &'static str = "exchange the usage of sources";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<UsageOfOthers, Failure> {
        let node_id = self.node_id.0;
        let ids: Vec<i64> = self.admitted.iter().map(|(id, _)| id.0).collect();
        let events: Vec<i64> = self.admitted.iter().map(|(_, events)| int(*events)).collect();
        tx.execute(PUT, params![node_id, ids, events]).await?;
        tx.execute(FORGET, params![node_id]).await?;
        let admitted = tx
            .all(OF_OTHERS, params![node_id, ids], |row| {
                let mut from = Columns::from(row, 0);
                Ok((SourceId(from.take()?), count(from.take()?)))
            })
            .await?;
        let slot = tx.keys.slot();
        let days = tx
            .all(DAYS_OF_OTHERS, params![self.since_day, slot, ids], |row| {
                let mut from = Columns::from(row, 0);
                Ok(SourceUsage {
                    source_id: SourceId(from.take()?),
                    day: from.take()?,
                    events: count(from.take()?),
                })
            })
            .await?;
        Ok(UsageOfOthers { admitted, days })
    }
}
