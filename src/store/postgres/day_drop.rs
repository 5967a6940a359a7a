//! Retention of whole days: the partitions of a day are detached and dropped once all of it is past retention.
//! What is still named (pending, leased, a younger dead letter, a late success) is moved to the default partitions,
//! where the sweep of `prune.rs` finds it later.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};

use super::keys::first_key_at;
use super::partition::{Day, TABLES};
use super::prune::{Cutoffs, remove_batches};
use super::tx::{LONG, Step, Tx, Values, params};
use crate::store::failure::Failure;
use crate::store::row::{count, int};
use crate::store::{PruneRequest, Pruned};

/// A day with more events than this to keep is left to the sweep: the tables are locked while they are moved.
const MOST_KEPT: usize = 10_000;
/// How far the keys of a batch's attempts may be apart: a second.
const BATCH_KEYS: i64 = 1_000 << 22;

/// Drops the oldest day that is past retention and has more events than the sweep should delete one by one, and those
/// before it that have none any more.
#[derive(Debug)]
pub(super) struct DropDay {
    pub(super) request: PruneRequest,
    pub(super) large_day: u32,
}

#[async_trait]
impl Step for DropDay {
    type Answer = Pruned;
    const CONTEXT: &'static str = "drop a day past retention";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Pruned, Failure> {
        let cutoff = first_key_at(self.request.settled_before);
        let young = Cutoffs::of(tx, &self.request).await?.settled;
        for day in Day::of_events(tx).await?.into_iter().filter(|day| day.keys().end <= cutoff) {
            // Events that were moved from SQLite are younger than the day of their keys.
            let newest =
                format!("SELECT received_at FROM {} ORDER BY id DESC LIMIT 1", day.name("events"));
            let newest: Option<i64> =
                tx.first(AssertSqlSafe(newest), params![], |row| Ok(row.try_get(0)?)).await?;
            if newest.is_some_and(|at| at >= young) {
                continue;
            }
            let sql = format!(
                "SELECT count(*) FROM (SELECT 1 FROM {} LIMIT $1) AS e",
                day.name("events")
            );
            let most = i64::from(self.large_day) + 1;
            let rows: i64 =
                tx.one(AssertSqlSafe(sql), params![most], |row| Ok(row.try_get(0)?)).await?;
            if rows == 0 {
                self.drop_day(tx, day, false).await?;
            } else if rows > i64::from(self.large_day) {
                return self.drop_day(tx, day, true).await;
            }
        }
        Ok(Pruned::default())
    }
}

impl DropDay {
    async fn drop_day(
        &self,
        tx: &mut Tx<'_>,
        day: Day,
        has_events: bool,
    ) -> Result<Pruned, Failure> {
        // Every insert queues behind a pending table lock, so the lock has a timeout: the next run retries.
        tx.execute("SET LOCAL lock_timeout = '2s'", params![]).await?;
        for table in TABLES {
            run(tx, format!("LOCK TABLE {} IN EXCLUSIVE MODE", day.name(table))).await?;
        }
        let Some(kept) = Kept::find(tx, day, &self.request).await? else {
            return Ok(Pruned::default());
        };
        let mut pruned = Pruned { more: has_events, ..Pruned::default() };
        kept.count(tx, &mut pruned).await?;
        kept.remove_outside(tx, &mut pruned).await?;
        kept.move_and_drop(tx, &mut pruned).await?;
        Ok(pruned)
    }
}

async fn run(tx: &mut Tx<'_>, sql: String) -> Result<u64, Failure> {
    tx.execute(AssertSqlSafe(sql), params![]).await
}

async fn ids(tx: &mut Tx<'_>, sql: String, values: Values) -> Result<Vec<i64>, Failure> {
    tx.all(AssertSqlSafe(sql), values, |row| Ok(row.try_get(0)?)).await
}

/// A day, and what is kept of it.
#[derive(Debug)]
struct Kept {
    day: Day,
    /// Its first key, and the one after its last.
    from: i64,
    until: i64,
    events: Vec<i64>,
    /// Deliveries of kept events, and of events of earlier days, with keys of the day.
    deliveries: Vec<i64>,
    /// Deliveries of the other events with keys of later days: around midnight, and of backfills.
    outside: Vec<i64>,
}

impl Kept {
    /// Finds what is kept; none when it is too much. The dead letters of the day stay locked, so that no redrive
    /// takes one of an event that is dropped.
    async fn find(
        tx: &mut Tx<'_>,
        day: Day,
        request: &PruneRequest,
    ) -> Result<Option<Self>, Failure> {
        let keys = day.keys();
        let (from, until) = (keys.start, keys.end);
        let before = Cutoffs::of(tx, request).await?;
        let lock =
            "SELECT 1 FROM dead WHERE event_id >= $1 AND event_id < $2 ORDER BY id FOR UPDATE";
        tx.execute(lock, params![from, until]).await?;
        let (events, settled) = (day.name("events"), day.name("settled"));
        let found = format!(
            "SELECT DISTINCT k.id FROM (
                SELECT event_id AS id FROM pending UNION ALL SELECT event_id FROM leased
                UNION ALL SELECT event_id FROM dead WHERE settled_at >= $4
                UNION ALL SELECT event_id FROM {settled} WHERE settled_at >= $3
                UNION ALL SELECT e.id FROM {events} AS e CROSS JOIN unnest(e.delivery_ids) AS o (id)
                    JOIN settled AS s ON s.id = o.id WHERE o.id >= $2 AND s.settled_at >= $3
                UNION ALL SELECT id FROM {events}
                    WHERE cardinality(delivery_ids) = 0 AND received_at >= $3
             ) AS k WHERE k.id >= $1 AND k.id < $2 LIMIT {}",
            MOST_KEPT + 1
        );
        let values = params![from, until, before.settled, before.dead];
        let kept = ids(tx, found, values).await?;
        if kept.len() > MOST_KEPT {
            return Ok(None);
        }
        let deliveries = ids(
            tx,
            format!(
                "SELECT unnest(delivery_ids) FROM {events} WHERE id = ANY ($3)
                 UNION SELECT id FROM deliveries WHERE id >= $1 AND id < $2 AND event_id < $1"
            ),
            params![from, until, kept],
        );
        let deliveries = deliveries.await?;
        let outside = ids(
            tx,
            format!(
                "SELECT o.id FROM {events} AS e CROSS JOIN unnest(e.delivery_ids) AS o (id)
                 WHERE o.id >= $1 AND e.id NOT IN (SELECT unnest($2::bigint[]))"
            ),
            params![until, kept],
        );
        let outside = outside.await?;
        Ok(Some(Self { day, from, until, events: kept, deliveries, outside }))
    }

    /// Counts what the day's partitions lose.
    async fn count(&self, tx: &mut Tx<'_>, pruned: &mut Pruned) -> Result<(), Failure> {
        let (events, settled) = (self.day.name("events"), self.day.name("settled"));
        let sql = format!(
            "SELECT (SELECT count(*) FROM {events}) - cardinality($1::bigint[]),
                count(*) FILTER (WHERE state = 'delivered'), count(*) FILTER (WHERE state = 'discarded')
             FROM {settled} WHERE event_id >= $2 AND event_id NOT IN (SELECT unnest($1))"
        );
        let values = params![self.events, self.from];
        let (gone, delivered, discarded): (i64, i64, i64) = tx
            .one(AssertSqlSafe(sql), values, |row| {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
            })
            .await?;
        pruned.events += count(gone);
        pruned.deliveries += count(delivered + discarded);
        tx.counts.ledger.delivered_pruned += delivered;
        tx.counts.ledger.discarded_pruned += discarded;
        Ok(())
    }

    /// Removes what the dropped events have in other tables and in the partitions of later days.
    async fn remove_outside(&self, tx: &mut Tx<'_>, pruned: &mut Pruned) -> Result<(), Failure> {
        let dead = "DELETE FROM dead WHERE event_id >= $1 AND event_id < $2
            AND event_id NOT IN (SELECT unnest($3::bigint[]))";
        let dead = tx.execute(dead, params![self.from, self.until, self.events]).await?;
        let settled = "WITH gone AS (DELETE FROM settled WHERE id = ANY ($1) RETURNING state)
            SELECT count(*) FILTER (WHERE state = 'delivered'),
                count(*) FILTER (WHERE state = 'discarded') FROM gone";
        let (delivered, discarded): (i64, i64) = tx
            .one(settled, params![self.outside], |row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .await?;
        let ledger = &mut tx.counts.ledger;
        ledger.dead_pruned += int(dead);
        ledger.delivered_pruned += delivered;
        ledger.discarded_pruned += discarded;
        pruned.deliveries += dead + count(delivered + discarded);
        let mut batches: Vec<Option<i64>> = Vec::new();
        for (sql, values) in [
            (
                "DELETE FROM attempts WHERE id >= $2 AND delivery_id >= $1 AND delivery_id < $2
                    AND delivery_id NOT IN (SELECT unnest($3::bigint[])) RETURNING batch_id",
                params![self.from, self.until, self.deliveries],
            ),
            (
                "DELETE FROM attempts WHERE id >= $1 AND delivery_id = ANY ($2) RETURNING batch_id",
                params![self.until, self.outside],
            ),
        ] {
            let removed: Vec<Option<i64>> = tx.all(sql, values, |row| Ok(row.try_get(0)?)).await?;
            batches.extend(removed);
        }
        pruned.attempts += batches.len() as u64;
        remove_batches(tx, batches.into_iter().flatten().filter(|id| *id >= self.until).collect())
            .await
    }

    /// Detaches the day's partitions, puts what is kept into the default ones, and drops them.
    async fn move_and_drop(&self, tx: &mut Tx<'_>, pruned: &mut Pruned) -> Result<(), Failure> {
        let sql = format!("SELECT count(*) FROM {}", self.day.name("attempts"));
        let attempts: i64 =
            tx.one(AssertSqlSafe(sql), params![], |row| Ok(row.try_get(0)?)).await?;
        // A batch follows its attempts: it is kept with any of them.
        let batch = format!(
            "EXISTS (SELECT 1 FROM attempts AS a WHERE a.id >= p.id AND a.id < p.id + {BATCH_KEYS}
                AND a.batch_id = p.id)"
        );
        let of_others = |column| format!("p.{column} < $1 OR p.{column} = ANY ($2)");
        for (table, kept, values) in [
            ("events", "p.id = ANY ($1)".to_owned(), params![self.events]),
            ("settled", of_others("event_id"), params![self.from, self.events]),
            ("attempts", of_others("delivery_id"), params![self.from, self.deliveries]),
            ("batches", batch, params![]),
        ] {
            let name = self.day.name(table);
            run(tx, format!("ALTER TABLE {table} DETACH PARTITION {name}")).await?;
            let insert = format!("INSERT INTO {table} SELECT p.* FROM {name} AS p WHERE {kept}");
            let moved = tx.execute(AssertSqlSafe(insert), values).await?;
            run(tx, format!("DROP TABLE {name}")).await?;
            if table == "attempts" {
                pruned.attempts += count(attempts).saturating_sub(moved);
            }
        }
        Ok(())
    }
}
