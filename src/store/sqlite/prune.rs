//! Retention: removes events whose deliveries are all past it, with their deliveries, attempts and skips, in
//! one commit; never anything pending or leased. A sweep scans the events by key, a bounded number a step, and
//! starts over when it has reached events that are too young.

use rusqlite::params;

use super::service_time;
use super::writer::step::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::State;
use crate::store::failure::Failure;
use crate::store::row::{count, foreign};
use crate::store::{PruneRequest, Pruned};

/// Events that a step scans, however few it may remove: it gets past those that stay.
const MIN_SCANNED: u32 = 64;

/// Expired events by key, with whether each may be removed and whether it is too young for any retention.
const SCAN: &str = "SELECT e.id, e.first_delivery_id, e.delivery_count,
        CASE WHEN e.delivery_count = 0 THEN e.received_at < ?1
        ELSE NOT EXISTS (SELECT 1 FROM deliveries AS d
            WHERE d.id >= e.first_delivery_id
                AND d.id < e.first_delivery_id + e.delivery_count
                AND NOT CASE d.state
                    WHEN 'delivered' THEN d.settled_at < ?1
                    WHEN 'discarded' THEN d.settled_at < ?1
                    WHEN 'dead' THEN d.settled_at < ?2
                    ELSE FALSE END)
        END AND NOT EXISTS (SELECT 1 FROM backfilled AS b
            CROSS JOIN deliveries AS d ON d.id = b.delivery_id
            WHERE b.event_id = e.id
                AND NOT CASE d.state
                    WHEN 'delivered' THEN d.settled_at < ?1
                    WHEN 'discarded' THEN d.settled_at < ?1
                    WHEN 'dead' THEN d.settled_at < ?2
                    ELSE FALSE END),
        e.received_at >= max(?1, ?2)
     FROM events AS e WHERE e.id > ?3 ORDER BY e.id LIMIT ?4";

/// The deliveries of events, by `?1`: a JSON array of their ranges of keys and their own keys.
const DELIVERIES: &str = "(WITH gone (first, after) AS MATERIALIZED
        (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
     SELECT d.id FROM gone CROSS JOIN deliveries AS d
        WHERE d.id >= gone.first AND d.id < gone.after
     UNION ALL
     SELECT b.delivery_id FROM json_each(?1) AS it CROSS JOIN backfilled AS b
        WHERE b.event_id = it.value ->> 2)";

/// A step of retention.
#[derive(Debug)]
pub(super) struct Prune(pub(super) PruneRequest);

/// What is older may be removed, in the wall time of the records.
#[derive(Clone, Copy, Debug)]
struct Cutoffs {
    settled: Timestamp,
    dead: Timestamp,
}

/// An event's keys.
#[derive(Clone, Copy, Debug)]
struct Expired {
    event_id: i64,
    first_delivery_id: i64,
    delivery_count: i64,
}

impl Step for Prune {
    type Answer = Pruned;
    const CONTEXT: &'static str = "prune expired events";

    fn bulk_rows(&self) -> usize {
        usize::try_from(self.0.limit).unwrap_or(usize::MAX)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Pruned, Failure> {
        let before = Cutoffs {
            settled: service_time::wall_before(tx, self.0.settled_before)?,
            dead: service_time::wall_before(tx, self.0.dead_before)?,
        };
        let (expired, more) = self.scan(tx, &before)?;
        let mut pruned = Pruned { more, ..Pruned::default() };
        for events in expired.chunks(128) {
            remove(tx, events, &mut pruned)?;
        }
        Ok(pruned)
    }
}

impl Prune {
    /// The next events of the sweep that may be removed, and whether there are more to scan.
    fn scan(&self, tx: &mut Tx<'_>, before: &Cutoffs) -> Result<(Vec<Expired>, bool), Failure> {
        let rows = self.0.limit.max(MIN_SCANNED);
        let from = tx.state.pruned_to;
        let (mut expired, mut last, mut is_full) = (Vec::new(), None, false);
        let values =
            params![before.settled.as_micros(), before.dead.as_micros(), from, i64::from(rows)];
        let scanned = tx.sqlite.all(SCAN, values, |row| {
            if is_full {
                return Ok(());
            }
            let event = Expired {
                event_id: row.get(0)?,
                first_delivery_id: row.get(1)?,
                delivery_count: row.get(2)?,
            };
            last = Some((event.event_id, row.get(4)?));
            if row.get(3)? {
                expired.push(event);
                is_full = expired.len() == self.bulk_rows();
            }
            Ok::<(), rusqlite::Error>(())
        })?;
        let mut more = is_full || scanned.len() == usize::try_from(rows).unwrap_or(usize::MAX);
        if let Some((event_id, is_young)) = last {
            tx.state.pruned_to = event_id;
            if more && !is_full && is_young {
                more = is_older_ahead(tx, before)?;
            }
        }
        if !more {
            tx.state.pruned_to = 0;
        }
        Ok((expired, more))
    }
}

/// Whether any event ahead of the sweep may be old enough. Keys mostly rise with time, but events accepted while
/// the clock was ahead would stop a sweep that ends at the first young one: it probes ahead at doubling
/// distances.
fn is_older_ahead(tx: &Tx<'_>, before: &Cutoffs) -> rusqlite::Result<bool> {
    tx.sqlite.one(
        "WITH RECURSIVE ahead (keys) AS
            (VALUES (1) UNION ALL SELECT keys * 2 FROM ahead WHERE keys < 1 << 61)
         SELECT EXISTS (SELECT 1 FROM ahead WHERE (SELECT received_at FROM events
            WHERE id >= ? + ahead.keys ORDER BY id LIMIT 1) < ?)",
        params![tx.state.pruned_to, before.settled.max(before.dead).as_micros()],
        |row| row.get(0),
    )
}

fn remove(tx: &mut Tx<'_>, events: &[Expired], pruned: &mut Pruned) -> Result<(), Failure> {
    let ranges = events.iter().map(|it| {
        serde_json::Value::from(vec![
            it.first_delivery_id,
            it.first_delivery_id + it.delivery_count,
            it.event_id,
        ])
    });
    let ranges = serde_json::Value::from_iter(ranges).to_string();
    let ids = serde_json::Value::from_iter(events.iter().map(|it| it.event_id)).to_string();
    count_states(tx, &ranges)?;
    leave_batches(tx, &ranges)?;
    let of_deliveries = |sql: &str| tx.execute(&format!("{sql} IN {DELIVERIES}"), params![ranges]);
    let of_events = |sql: &str| {
        tx.execute(&format!("{sql} IN (SELECT value FROM json_each(?1))"), params![ids])
    };
    pruned.attempts += of_deliveries("DELETE FROM attempts WHERE delivery_id")?;
    pruned.deliveries += of_deliveries("DELETE FROM deliveries WHERE id")?;
    of_events("DELETE FROM backfilled WHERE event_id")?;
    of_events("DELETE FROM skips WHERE event_id")?;
    pruned.events += of_events("DELETE FROM events WHERE id")?;
    Ok(())
}

/// Moves the deliveries that are about to be removed to the ledger's pruned counts.
fn count_states(tx: &mut Tx<'_>, ranges: &str) -> Result<(), Failure> {
    let sql =
        format!("SELECT state, count(*) FROM deliveries WHERE id IN {DELIVERIES} GROUP BY state");
    let states: Vec<(String, i64)> = tx
        .sqlite
        .all(&sql, params![ranges], |row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?)))?;
    let ledger = &mut tx.state.ledger;
    for (state, rows) in states {
        match State::parse(&state) {
            Some(State::Delivered) => ledger.delivered_pruned += count(rows),
            Some(State::Dead) => ledger.dead_pruned += count(rows),
            Some(State::Discarded) => ledger.discarded_pruned += count(rows),
            Some(State::Pending | State::Leased) | None => {
                return Err(foreign("a pruned delivery in state", &state));
            }
        }
    }
    Ok(())
}

/// Takes the attempts that are about to be removed off their batches' counts; a batch is removed with its
/// last attempt.
fn leave_batches(tx: &Tx<'_>, ranges: &str) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE batches SET attempt_count = attempt_count - gone.attempts
         FROM (SELECT batch_id, count(*) AS attempts FROM attempts
            WHERE batch_id IS NOT NULL AND delivery_id IN {DELIVERIES}
            GROUP BY batch_id) AS gone WHERE batches.id = gone.batch_id"
    );
    if tx.execute(&sql, params![ranges])? > 0 {
        tx.execute("DELETE FROM batches WHERE attempt_count = 0", &[])?;
    }
    Ok(())
}
