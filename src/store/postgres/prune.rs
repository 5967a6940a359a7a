//! Retention: removes events whose deliveries are all past it, with their deliveries and attempts, in one
//! commit; never anything pending or leased. A sweep scans the events by key, at most N rows a step.

use async_trait::async_trait;
use sqlx::Row as _;

use super::keys::first_key_at;
use super::tx::{Step, Tx, params};
use crate::store::failure::Failure;
use crate::store::row::int;
use crate::store::{PruneRequest, Pruned};

/// Events by key, with whether each may be removed. Events that are too young for any retention have keys
/// above the range.
const SCAN: &str = "SELECT e.id, e.delivery_ids,
        CASE WHEN cardinality(e.delivery_ids) = 0 THEN e.received_at < $1
        ELSE NOT EXISTS (SELECT 1 FROM unnest(e.delivery_ids) AS g (id)
            JOIN deliveries AS d ON d.id = g.id
            WHERE NOT CASE d.state
                WHEN 'delivered' THEN d.settled_at < $1
                WHEN 'discarded' THEN d.settled_at < $1
                WHEN 'dead' THEN d.settled_at < $2
                ELSE FALSE END)
        END
     FROM events AS e WHERE e.id > $3 AND e.id < $4 ORDER BY e.id LIMIT $5";

/// A step of retention.
#[derive(Debug)]
pub(super) struct Prune {
    pub(super) request: PruneRequest,
    /// The sweep is behind this event.
    pub(super) from: i64,
}

/// What a step did, and where the next one begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swept {
    pub(super) pruned: Pruned,
    pub(super) next: i64,
}

#[async_trait]
impl Step for Prune {
    type Answer = Swept;
    const CONTEXT: &'static str = "prune expired events";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Swept, Failure> {
        let PruneRequest { settled_before, dead_before, limit } = self.request;
        let values = params![
            settled_before.as_micros(),
            dead_before.as_micros(),
            self.from,
            first_key_at(settled_before.max(dead_before)),
            i64::from(limit),
        ];
        let scanned: Vec<(i64, Vec<i64>, bool)> = tx
            .all(SCAN, values, |row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .await?;
        let more = scanned.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = scanned.last().filter(|_| more).map_or(0, |(id, _, _)| *id);
        let mut pruned = Pruned { more, ..Pruned::default() };
        let (mut events, mut deliveries) = (Vec::new(), Vec::new());
        for (id, of_event, _) in scanned.into_iter().filter(|(_, _, is_expired)| *is_expired) {
            events.push(id);
            deliveries.extend(of_event);
        }
        if !events.is_empty() {
            remove(tx, &events, &deliveries, &mut pruned).await?;
        }
        Ok(Swept { pruned, next })
    }
}

async fn remove(
    tx: &mut Tx<'_>,
    events: &[i64],
    deliveries: &[i64],
    pruned: &mut Pruned,
) -> Result<(), Failure> {
    let batches: Vec<Option<i64>> = tx
        .all(
            "DELETE FROM attempts WHERE delivery_id = ANY ($1) RETURNING batch_id",
            params![deliveries],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    pruned.attempts += batches.len() as u64;
    remove_batches(tx, batches.into_iter().flatten().collect()).await?;
    let (delivered, discarded): (i64, i64) = tx
        .one(
            "WITH gone AS (DELETE FROM settled WHERE id = ANY ($1) RETURNING state)
             SELECT count(*) FILTER (WHERE state = 'delivered'),
                count(*) FILTER (WHERE state = 'discarded') FROM gone",
            params![deliveries],
            |row| Ok((row.try_get(0)?, row.try_get(1)?)),
        )
        .await?;
    let dead = int(tx.execute("DELETE FROM dead WHERE id = ANY ($1)", params![deliveries]).await?);
    tx.ledger.delivered_pruned += delivered;
    tx.ledger.discarded_pruned += discarded;
    tx.ledger.dead_pruned += dead;
    pruned.deliveries += u64::try_from(delivered + discarded + dead).unwrap_or(0);
    pruned.events += tx.execute("DELETE FROM events WHERE id = ANY ($1)", params![events]).await?;
    Ok(())
}

/// Removes batches with their last attempt. The attempts of one have keys of the same second.
async fn remove_batches(tx: &mut Tx<'_>, mut batches: Vec<i64>) -> Result<(), Failure> {
    batches.sort_unstable();
    batches.dedup();
    if batches.is_empty() {
        return Ok(());
    }
    tx.execute(
        "DELETE FROM batches AS b WHERE b.id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM attempts AS a
            WHERE a.id >= b.id AND a.id < b.id + (1000::bigint << 22) AND a.batch_id = b.id)",
        params![batches],
    )
    .await?;
    Ok(())
}
