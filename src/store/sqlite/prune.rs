//! Retention: events whose deliveries are all past it go, with their deliveries, attempts and
//! skips, in one commit. Never anything pending or leased. A sweep walks the events by key, a
//! bounded step at a time, and begins again at the start when it has reached what is too young.

use sqlx::{QueryBuilder, Row, Sqlite};

use super::failure::Failure;
use super::row::count;
use super::writer::{Step, Tx};
use crate::store::{PruneRequest, Pruned};

/// Free pages given back to the file system with each step.
const VACUUM: &str = "PRAGMA incremental_vacuum(64)";

/// A step of retention.
#[derive(Debug)]
pub(super) struct Prune(pub(super) PruneRequest);

/// An event's keys.
#[derive(Clone, Copy, Debug)]
struct Gone {
    event_id: i64,
    first_delivery_id: i64,
    delivery_count: i64,
}

#[async_trait::async_trait]
impl Step for Prune {
    type Answer = Pruned;
    const CONTEXT: &'static str = "remove what is past its retention";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Pruned, Failure> {
        let (gone, more) = self.look(tx).await?;
        let mut pruned = Pruned { more, ..Pruned::default() };
        for events in gone.chunks(128) {
            remove(tx, events, &mut pruned).await?;
        }
        if pruned.events > 0 {
            sqlx::query(VACUUM).fetch_all(&mut *tx.conn).await?;
        }
        Ok(pruned)
    }
}

impl Prune {
    /// The next events of the sweep that may go, and whether there are more to look at.
    async fn look(&self, tx: &mut Tx<'_>) -> Result<(Vec<Gone>, bool), Failure> {
        let PruneRequest { settled_before, dead_before, limit } = self.0;
        let rows = sqlx::query(
            "SELECT e.id, e.first_delivery_id, e.delivery_count,
                CASE WHEN e.delivery_count = 0 THEN e.received_at < ?1
                ELSE NOT EXISTS (SELECT 1 FROM deliveries AS d
                    WHERE d.id >= e.first_delivery_id
                        AND d.id < e.first_delivery_id + e.delivery_count
                        AND NOT CASE d.state
                            WHEN 'delivered' THEN d.settled_at < ?1
                            WHEN 'discarded' THEN d.settled_at < ?1
                            WHEN 'dead' THEN d.settled_at < ?2
                            ELSE FALSE END)
                END,
                e.received_at >= max(?1, ?2)
             FROM events AS e WHERE e.id > ?3 ORDER BY e.id LIMIT ?4",
        )
        .bind(settled_before.as_micros())
        .bind(dead_before.as_micros())
        .bind(tx.memory.pruned_to)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.conn)
        .await?;
        let mut more = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let mut gone = Vec::new();
        let mut is_young = false;
        for row in &rows {
            let event_id: i64 = row.try_get(0)?;
            tx.memory.pruned_to = event_id;
            is_young = row.try_get(4)?;
            if row.try_get(3)? {
                gone.push(Gone {
                    event_id,
                    first_delivery_id: row.try_get(1)?,
                    delivery_count: row.try_get(2)?,
                });
            }
        }
        if more && is_young {
            more = self.is_older_ahead(tx).await?;
        }
        if !more {
            tx.memory.pruned_to = 0;
        }
        Ok((gone, more))
    }

    /// Whether anything ahead of the sweep is older than where it stands. Keys mostly rise with
    /// time, but events of a time when the clock was ahead would block a sweep that stops at the
    /// first young one: it looks on, ever further.
    async fn is_older_ahead(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "WITH RECURSIVE ahead (keys) AS
                (VALUES (1) UNION ALL SELECT keys * 2 FROM ahead WHERE keys < 1 << 40)
             SELECT EXISTS (SELECT 1 FROM ahead WHERE (SELECT received_at FROM events
                WHERE id >= ? + ahead.keys ORDER BY id LIMIT 1) < ?)",
        )
        .bind(tx.memory.pruned_to)
        .bind(self.0.settled_before.max(self.0.dead_before).as_micros())
        .fetch_one(&mut *tx.conn)
        .await
    }
}

fn push_deliveries(sql: &mut QueryBuilder<Sqlite>, events: &[Gone]) {
    sql.push(" IN (WITH gone (first, after) AS (");
    sql.push_values(events, |mut row, gone| {
        row.push_bind(gone.first_delivery_id)
            .push_bind(gone.first_delivery_id + gone.delivery_count);
    });
    sql.push(
        ") SELECT d.id FROM gone CROSS JOIN deliveries AS d
            WHERE d.id >= gone.first AND d.id < gone.after)",
    );
}

fn push_events(sql: &mut QueryBuilder<Sqlite>, events: &[Gone]) {
    sql.push(" IN (");
    let mut ids = sql.separated(", ");
    for gone in events {
        ids.push_bind(gone.event_id);
    }
    sql.push(")");
}

async fn remove(tx: &mut Tx<'_>, events: &[Gone], pruned: &mut Pruned) -> Result<(), Failure> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT state, count(*) FROM deliveries WHERE id");
    push_deliveries(&mut sql, events);
    sql.push(" GROUP BY state");
    for row in sql.build().persistent(false).fetch_all(&mut *tx.conn).await? {
        let gone = count(row.try_get(1)?);
        let ledger = &mut tx.memory.ledger;
        match row.try_get(0)? {
            "delivered" => ledger.delivered_pruned += gone,
            "dead" => ledger.dead_pruned += gone,
            "discarded" => ledger.discarded_pruned += gone,
            other => return Err(super::row::foreign("a pruned delivery in state", other)),
        }
    }
    leave_batches(tx, events).await?;
    pruned.attempts += delete(tx, "attempts WHERE delivery_id", push_deliveries, events).await?;
    pruned.deliveries += delete(tx, "deliveries WHERE id", push_deliveries, events).await?;
    delete(tx, "skips WHERE event_id", push_events, events).await?;
    pruned.events += delete(tx, "events WHERE id", push_events, events).await?;
    Ok(())
}

/// Counts the attempts that are about to go out of their batches; a batch goes with its last one.
async fn leave_batches(tx: &mut Tx<'_>, events: &[Gone]) -> Result<(), sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "UPDATE batches SET attempt_count = attempt_count - gone.attempts
         FROM (SELECT batch_id, count(*) AS attempts FROM attempts
            WHERE batch_id IS NOT NULL AND delivery_id",
    );
    push_deliveries(&mut sql, events);
    sql.push(" GROUP BY batch_id) AS gone WHERE batches.id = gone.batch_id");
    let left = sql.build().persistent(false).execute(&mut *tx.conn).await?;
    if left.rows_affected() > 0 {
        tx.run("DELETE FROM batches WHERE attempt_count = 0").await?;
    }
    Ok(())
}

async fn delete(
    tx: &mut Tx<'_>,
    what: &'static str,
    push: fn(&mut QueryBuilder<Sqlite>, &[Gone]),
    events: &[Gone],
) -> Result<u64, sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new("DELETE FROM ");
    sql.push(what);
    push(&mut sql, events);
    let done = sql.build().persistent(false).execute(&mut *tx.conn).await?;
    Ok(done.rows_affected())
}
