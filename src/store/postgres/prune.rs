//! Retention: removes events whose deliveries are all past it, with their deliveries and attempts, in one
//! commit; never anything pending or leased. A sweep scans the events by key, at most N rows a step; days with many
//! events are dropped as a whole by `day_drop.rs`.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};

use super::keys::first_key_at;
use super::partition::Day;
use super::service_time;
use super::tx::{LONG, Step, Tx, params};
use crate::store::failure::Failure;
use crate::store::row::int;
use crate::store::{PruneRequest, Pruned};

/// Whether event `e` may be removed: each of its deliveries was settled before `$1`, or died before `$2`.
const IS_EXPIRED: &str = "CASE WHEN cardinality(e.delivery_ids) = 0 THEN e.received_at < $1
        ELSE NOT EXISTS (SELECT 1 FROM unnest(e.delivery_ids) AS g (id)
            JOIN deliveries AS d ON d.id = g.id
            WHERE NOT CASE d.state
                WHEN 'delivered' THEN d.settled_at < $1
                WHEN 'discarded' THEN d.settled_at < $1
                WHEN 'dead' THEN d.settled_at < $2
                ELSE FALSE END)
        END";

/// A step of retention.
#[derive(Debug)]
pub(super) struct Prune {
    pub(super) request: PruneRequest,
    /// The sweep is behind this event.
    pub(super) from: i64,
    /// A day with more events is dropped as a whole, once all of it is past retention.
    pub(super) large_day: u32,
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
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Swept, Failure> {
        let limit = self.request.limit;
        let before = Cutoffs::of(tx, &self.request).await?;
        // Events that are too young for any retention have keys above the range.
        let sql = format!(
            "SELECT e.id, {IS_EXPIRED} FROM events AS e WHERE e.id > $3 AND e.id < $4
             ORDER BY e.id LIMIT $5"
        );
        let values =
            params![before.settled, before.dead, self.from, self.end(tx).await?, i64::from(limit),];
        let scanned: Vec<(i64, bool)> = tx
            .all(AssertSqlSafe(sql), values, |row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .await?;
        let more = scanned.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = scanned.last().filter(|_| more).map_or(0, |(id, _)| *id);
        let mut pruned = Pruned { more, ..Pruned::default() };
        let expired = scanned.into_iter().filter(|(_, is_expired)| *is_expired);
        let expired: Vec<i64> = expired.map(|(id, _)| id).collect();
        if !expired.is_empty() {
            let (events, deliveries) = lock(tx, &expired, before).await?;
            remove(tx, &events, &deliveries, &mut pruned).await?;
        }
        Ok(Swept { pruned, next })
    }
}

impl Prune {
    /// The key that the sweep ends before: that of the events which are too young for any retention, or of the day
    /// that will be dropped when all of it is past retention.
    async fn end(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let at = self.request.settled_before.max(self.request.dead_before);
        let (start, end) = (Day::of(at).keys().start, first_key_at(at));
        let rows: i64 = tx
            .one(
                "SELECT count(*) FROM (SELECT 1 FROM events WHERE id >= $1 AND id < $2 LIMIT $3) AS e",
                params![start, end, i64::from(self.large_day) + 1],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        Ok(if rows > i64::from(self.large_day) { start } else { end })
    }
}

/// What is older may be removed, in the wall time of the records, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutoffs {
    pub(super) settled: i64,
    pub(super) dead: i64,
}

impl Cutoffs {
    pub(super) async fn of(tx: &mut Tx<'_>, request: &PruneRequest) -> Result<Self, Failure> {
        Ok(Self {
            settled: service_time::wall_before(tx, request.settled_before).await?.as_micros(),
            dead: service_time::wall_before(tx, request.dead_before).await?.as_micros(),
        })
    }
}

/// Locks expired events and their dead letters. Returns those that have not changed since the scan (a redrive takes
/// dead letters, a backfill adds deliveries), and their deliveries.
async fn lock(
    tx: &mut Tx<'_>,
    expired: &[i64],
    before: Cutoffs,
) -> Result<(Vec<i64>, Vec<i64>), Failure> {
    let events = "SELECT 1 FROM events WHERE id = ANY ($1) ORDER BY id FOR UPDATE";
    tx.execute(events, params![expired]).await?;
    let dead = "SELECT 1 FROM dead WHERE id = ANY (ARRAY
            (SELECT unnest(delivery_ids) FROM events WHERE id = ANY ($1)))
         ORDER BY id FOR UPDATE";
    tx.execute(dead, params![expired]).await?;
    let sql = format!(
        "SELECT e.id, e.delivery_ids FROM events AS e WHERE e.id = ANY ($3) AND {IS_EXPIRED}"
    );
    let found: Vec<(i64, Vec<i64>)> = tx
        .all(AssertSqlSafe(sql), params![before.settled, before.dead, expired], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?))
        })
        .await?;
    let (mut ids, mut deliveries) = (Vec::new(), Vec::new());
    for (id, of_event) in found {
        ids.push(id);
        deliveries.extend(of_event);
    }
    Ok((ids, deliveries))
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
    tx.counts.ledger.delivered_pruned += delivered;
    tx.counts.ledger.discarded_pruned += discarded;
    tx.counts.ledger.dead_pruned += dead;
    pruned.deliveries += u64::try_from(delivered + discarded + dead).unwrap_or(0);
    pruned.events += tx.execute("DELETE FROM events WHERE id = ANY ($1)", params![events]).await?;
    Ok(())
}

/// Removes batches with their last attempt. The attempts of one have keys of the same second.
pub(super) async fn remove_batches(tx: &mut Tx<'_>, mut batches: Vec<i64>) -> Result<(), Failure> {
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
