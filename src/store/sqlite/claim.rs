//! Claim: leasing due deliveries, each wanted mapping on its own, and making dead letters of those
//! that were tried in vain until their deadline and stand before them. It reads what it leases and
//! buries and nothing more, so that its cost does not grow with the backlog.

use std::sync::Arc;

use rusqlite::{Row, params};
use sqlx::sqlite::SqliteConnection;

use super::direct::Held;
use super::failure::Failure;
use super::row::{int, small};
use super::writer::{Step, Tx, Writing};
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MappingId};
use crate::store::{ClaimRequest, ClaimWant, LeaseRef, LeasedDelivery};

/// Overdue deliveries that a claim buries at most beside those it leases.
const OVERDUE_AT_ONCE: i64 = 256;

/// What a mapping gets of a claim however many share it.
const LEAST: u32 = 16;

const DUE: &str = "SELECT id, event_id, token, tried, accepted_at, deadline_at FROM deliveries
     WHERE state = 'pending' AND mapping_id = ? AND due_at <= ? ORDER BY due_at LIMIT ?";
const LEASE: &str = "UPDATE deliveries SET state = 'leased', due_at = NULL, token = ?2, tried = ?3,
        deadline_at = ?4, lease_node_id = ?5, lease_expires_at = ?6
     WHERE id = ?1";
const BURY: &str = "UPDATE deliveries SET state = 'dead', reason = 'deadline', due_at = NULL,
        settled_at = ?2
     WHERE id = ?1";
/// Those that a reader found, unless they changed meanwhile.
const BURY_FOUND: &str = "UPDATE deliveries SET state = 'dead', reason = 'deadline', due_at = NULL,
        settled_at = ?2
     WHERE id IN (SELECT value FROM json_each(?1))
        AND state = 'pending' AND tried > 0 AND deadline_at <= ?2";
/// For each mapping given, when its next pending delivery is due.
const NEXT_DUE: &str = "SELECT wanted.value, (SELECT min(due_at) FROM deliveries
        WHERE state = 'pending' AND mapping_id = wanted.value)
     FROM json_each(?) AS wanted";

/// When the next delivery of each mapping is due, on a reader.
pub(super) async fn next_due(
    conn: &mut SqliteConnection,
    mappings: &[MappingId],
) -> Result<Vec<(MappingId, Timestamp)>, sqlx::Error> {
    let wanted = json(mappings.iter().map(|it| it.0));
    let rows: Vec<(i64, Option<i64>)> =
        sqlx::query_as(NEXT_DUE).bind(wanted).fetch_all(conn).await?;
    Ok(rows.into_iter().filter_map(|(mapping_id, due_at)| due(mapping_id, due_at)).collect())
}

fn due(mapping_id: i64, due_at: Option<i64>) -> Option<(MappingId, Timestamp)> {
    Some((MappingId(mapping_id), Timestamp::from_micros(due_at?)))
}

/// Keys as SQLite takes many of them in one value.
fn json(keys: impl Iterator<Item = i64>) -> String {
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    format!("[{}]", keys.join(","))
}

/// A delivery that was leased; its event is yet to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) id: DeliveryId,
    pub(super) event_id: EventId,
    pub(super) mapping_id: MappingId,
    pub(super) token: u32,
    pub(super) tried: u32,
    pub(super) accepted_at: Timestamp,
    pub(super) deadline_at: Timestamp,
    pub(super) lease_expires_at: Timestamp,
}

impl Claimed {
    /// Its lease.
    pub(super) fn lease(&self) -> LeaseRef {
        LeaseRef { delivery_id: self.id, token: self.token }
    }

    /// Whether it was tried in vain until its deadline.
    fn is_overdue(&self, now: Timestamp) -> bool {
        self.tried > 0 && self.deadline_at <= now
    }

    /// With its event.
    pub(super) fn with_event(&self, event: Arc<Event>) -> LeasedDelivery {
        LeasedDelivery {
            id: self.id,
            event_id: self.event_id,
            event,
            mapping_id: self.mapping_id,
            token: self.token,
            tried: self.tried,
            accepted_at: self.accepted_at,
            deadline_at: self.deadline_at,
            lease_expires_at: self.lease_expires_at,
        }
    }
}

/// What the writer's part of a claim gives.
#[derive(Debug, Default)]
pub(super) struct Leased {
    pub(super) deliveries: Vec<Claimed>,
    pub(super) next_due: Vec<(MappingId, Timestamp)>,
    pub(super) overdue: Vec<(MappingId, u64)>,
}

/// Leases what is due for each mapping that wants it: no more than about `at_most` in all, shared among
/// them; the rest is due again at once.
pub(super) fn claim(
    writing: &mut Writing<'_>,
    request: &ClaimRequest,
    at_most: usize,
) -> Result<Leased, sqlx::Error> {
    let mut leased = Leased::default();
    let share = u32::try_from(at_most / request.wants.len().max(1)).unwrap_or(u32::MAX);
    for want in &request.wants {
        let limit = want.limit.min(share.max(LEAST));
        serve(writing, request, &ClaimWant { limit, ..*want }, &mut leased)?;
    }
    let wanted = json(request.wants.iter().map(|want| want.mapping_id.0));
    let found = writing
        .held
        .prepare(NEXT_DUE)?
        .find(params![wanted], |row| Ok(due(row.get(0)?, row.get(1)?)))?;
    leased.next_due = found.into_iter().flatten().collect();
    Ok(leased)
}

/// Serves one mapping.
fn serve(
    writing: &mut Writing<'_>,
    request: &ClaimRequest,
    want: &ClaimWant,
    leased: &mut Leased,
) -> Result<(), sqlx::Error> {
    let (now, before) = (request.now, leased.deliveries.len());
    let mut lease = writing.held.prepare(LEASE)?;
    let mut buried = 0;
    for claimed in find_due(writing.held, want, now)? {
        if claimed.is_overdue(now) {
            writing.held.change(BURY, params![claimed.id.0, now.as_micros()])?;
            buried += 1;
        } else {
            lease.change(params![
                claimed.id.0,
                claimed.token,
                claimed.tried,
                claimed.deadline_at.as_micros(),
                request.node_id.0,
                claimed.lease_expires_at.as_micros(),
            ])?;
            leased.deliveries.push(claimed);
        }
    }
    let count = u64::try_from(leased.deliveries.len() - before).unwrap_or(u64::MAX);
    let ledger = &mut writing.memory.ledger;
    ledger.pending = ledger.pending.saturating_sub(count + buried);
    ledger.leased += count;
    ledger.dead += buried;
    if buried > 0 {
        leased.overdue.push((want.mapping_id, buried));
    }
    Ok(())
}

/// What is due, up to the last that is wanted, as it will be when leased: a deadline from before the
/// mapping was resumed gives way to the resumed window, whose tries start from none.
fn find_due(
    held: &Held<'_>,
    want: &ClaimWant,
    now: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    if want.limit == 0 {
        return Ok(Vec::new());
    }
    let most = i64::from(want.limit) + OVERDUE_AT_ONCE;
    let mut fit = 0;
    let is_last = |claimed: &Claimed| {
        fit += u32::from(!claimed.is_overdue(now));
        fit == want.limit
    };
    let read = |row: &Row<'_>| {
        let tried = small(row.get(3)?);
        let deadline_at = Timestamp::from_micros(row.get(5)?);
        let is_resumed = deadline_at < want.resumed_deadline_at;
        Ok(Claimed {
            id: DeliveryId(row.get(0)?),
            event_id: EventId(row.get(1)?),
            mapping_id: want.mapping_id,
            token: small(row.get(2)?).saturating_add(1),
            tried: if is_resumed { 0 } else { tried },
            accepted_at: Timestamp::from_micros(row.get(4)?),
            deadline_at: if is_resumed { want.resumed_deadline_at } else { deadline_at },
            lease_expires_at: now + want.lease,
        })
    };
    let values = params![want.mapping_id.0, now.as_micros(), most];
    held.prepare(DUE)?.find_until(values, read, is_last)
}

/// Overdue deliveries that a reader found, to be made dead letters unless they changed meanwhile.
#[derive(Debug)]
pub(super) struct Bury {
    pub(super) found: Vec<i64>,
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for Bury {
    type Answer = u64;
    const CONTEXT: &'static str = "settle overdue deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let done = sqlx::query(BURY_FOUND)
            .bind(json(self.found.iter().copied()))
            .bind(self.now.as_micros())
            .execute(&mut *tx.conn)
            .await?;
        let buried = done.rows_affected();
        tx.memory.ledger.pending = tx.memory.ledger.pending.saturating_sub(buried);
        tx.memory.ledger.dead += buried;
        Ok(buried)
    }
}

/// Finds deliveries for [`Bury`]. On a reader: it may look at the mapping's whole backlog.
pub(super) async fn find_overdue(
    conn: &mut SqliteConnection,
    want: &ClaimWant,
    now: Timestamp,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM deliveries
         WHERE state = 'pending' AND mapping_id = ? AND tried > 0
            AND deadline_at <= ? AND deadline_at >= ?
         LIMIT ?",
    )
    .bind(want.mapping_id.0)
    .bind(now.as_micros())
    .bind(want.resumed_deadline_at.as_micros())
    .bind(int(u64::from(want.limit)))
    .fetch_all(conn)
    .await
}
