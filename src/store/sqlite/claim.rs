//! Claim: leases due deliveries, mapping by mapping, and makes dead letters of the overdue ones that precede
//! them. It reads no other rows, so that its cost does not grow with the backlog.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Row, params};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::{Step, Tx};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MappingId};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::{self, EVENT_COLUMNS, int, small};
use crate::store::{ClaimRequest, ClaimWant, LeaseRef, LeasedDelivery};

/// The most overdue deliveries that a claim makes dead letters of for each mapping.
const OVERDUE_AT_ONCE: i64 = 256;

/// The least that a mapping's share of a claim is, however many mappings share it.
const LEAST: u32 = 16;

const DUE: &str = "SELECT id, event_id, token, tried, accepted_at, deadline_at FROM deliveries
     WHERE state = 'pending' AND mapping_id = ? AND due_at <= ? ORDER BY due_at LIMIT ?";
const LEASE: &str = "UPDATE deliveries SET state = 'leased', due_at = NULL, token = ?2, tried = ?3,
        deadline_at = ?4, lease_node_id = ?5, lease_expires_at = ?6
     WHERE id = ?1";
const DEAD_LETTER: &str =
    "UPDATE deliveries SET state = 'dead', reason = 'deadline', due_at = NULL,
        settled_at = ?2
     WHERE id = ?1";
/// The overdue deliveries that a reader found, unless they have changed since.
const DEAD_LETTER_FOUND: &str =
    "UPDATE deliveries SET state = 'dead', reason = 'deadline', due_at = NULL,
        settled_at = ?2
     WHERE id IN (SELECT value FROM json_each(?1))
        AND state = 'pending' AND tried > 0 AND deadline_at <= ?3
     RETURNING mapping_id";
/// Of each given mapping, with the end of its resumed window: those past their deadline.
pub(super) const FIND_OVERDUE: &str = "SELECT d.id FROM json_each(?1) AS wanted
     CROSS JOIN deliveries AS d INDEXED BY deliveries_overdue
     WHERE d.state = 'pending' AND d.tried > 0 AND d.mapping_id = wanted.value ->> 0
        AND d.deadline_at <= ?2 AND d.deadline_at >= wanted.value ->> 1
     LIMIT ?3";
/// For each given mapping, when its next pending delivery is due.
const NEXT_DUE: &str = "SELECT wanted.value, (SELECT min(due_at) FROM deliveries
        WHERE state = 'pending' AND mapping_id = wanted.value)
     FROM json_each(?) AS wanted";

/// When the next delivery of each mapping is due, on a reader.
pub(super) async fn next_due(
    conn: &mut SqliteConnection,
    mappings: &[MappingId],
) -> Result<Vec<(MappingId, ServiceTime)>, sqlx::Error> {
    let wanted = json(mappings.iter().map(|it| it.0));
    let rows: Vec<(i64, Option<i64>)> =
        sqlx::query_as(NEXT_DUE).bind(wanted).fetch_all(conn).await?;
    Ok(rows.into_iter().filter_map(|(mapping_id, due_at)| due(mapping_id, due_at)).collect())
}

/// The events of claimed deliveries, by their keys, on a reader.
pub(super) async fn events(
    conn: &mut SqliteConnection,
    claimed: &[Claimed],
) -> Result<HashMap<EventId, Arc<Event>>, Failure> {
    let ids: BTreeSet<_> = claimed.iter().map(|delivery| delivery.event_id.0).collect();
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id IN (SELECT value FROM json_each(?))"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(json(ids.into_iter())).fetch_all(conn).await?;
    rows.iter().map(|row| row::event(row).map(|it| (it.id, Arc::new(it.event)))).collect()
}

fn due(mapping_id: i64, due_at: Option<i64>) -> Option<(MappingId, ServiceTime)> {
    Some((MappingId(mapping_id), ServiceTime::from_micros(due_at?)))
}

/// Keys as a JSON array, for `json_each`.
fn json(keys: impl Iterator<Item = i64>) -> String {
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    format!("[{}]", keys.join(","))
}

/// A leased delivery, without its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) id: DeliveryId,
    pub(super) event_id: EventId,
    pub(super) mapping_id: MappingId,
    pub(super) token: u32,
    pub(super) tried: u32,
    pub(super) accepted_at: Timestamp,
    pub(super) deadline_at: ServiceTime,
    pub(super) lease_expires_at: ServiceTime,
}

impl Claimed {
    /// Its lease.
    pub(super) fn lease(&self) -> LeaseRef {
        LeaseRef { delivery_id: self.id, token: self.token }
    }

    /// Whether it was tried and its deadline has passed.
    fn is_overdue(&self, now: ServiceTime) -> bool {
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

/// The result of the writer's part of a claim.
#[derive(Debug, Default)]
pub(super) struct Leased {
    pub(super) deliveries: Vec<Claimed>,
    pub(super) next_due: Vec<(MappingId, ServiceTime)>,
    pub(super) overdue: Vec<(MappingId, u64)>,
}

/// Leases due deliveries for each mapping of the request: about `at_most` in all, shared among the mappings;
/// the rest stays due.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    at_most: usize,
) -> rusqlite::Result<Leased> {
    let mut leased = Leased::default();
    let share = u32::try_from(at_most / request.wants.len().max(1)).unwrap_or(u32::MAX);
    for want in &request.wants {
        let limit = want.limit.min(share.max(LEAST));
        serve(tx, request, &ClaimWant { limit, ..*want }, &mut leased)?;
    }
    let wanted = json(request.wants.iter().map(|want| want.mapping_id.0));
    let read = |row: &Row<'_>| Ok::<_, rusqlite::Error>(due(row.get(0)?, row.get(1)?));
    let found = tx.sqlite.all(NEXT_DUE, params![wanted], read)?;
    leased.next_due = found.into_iter().flatten().collect();
    Ok(leased)
}

/// Serves one mapping.
fn serve(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    want: &ClaimWant,
    leased: &mut Leased,
) -> rusqlite::Result<()> {
    let (now, before) = (request.now, leased.deliveries.len());
    let mut lease = tx.prepare(LEASE)?;
    let mut dead = 0;
    for claimed in find_due(tx, want, now.service)? {
        if claimed.is_overdue(now.service) {
            tx.execute(DEAD_LETTER, params![claimed.id.0, now.wall.as_micros()])?;
            dead += 1;
        } else {
            lease.execute(params![
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
    let ledger = &mut tx.state.ledger;
    ledger.pending = ledger.pending.saturating_sub(count + dead);
    ledger.leased += count;
    ledger.dead += dead;
    tx.statistics.counts().dead(want.mapping_id, dead);
    if dead > 0 {
        leased.overdue.push((want.mapping_id, dead));
    }
    Ok(())
}

/// Due deliveries up to the limit, as they will be leased: a deadline from before the mapping was resumed
/// is replaced by that of the resumed window, which starts with no tries.
fn find_due(tx: &Tx<'_>, want: &ClaimWant, now: ServiceTime) -> rusqlite::Result<Vec<Claimed>> {
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
        let deadline_at = ServiceTime::from_micros(row.get(5)?);
        let is_resumed = deadline_at < want.resumed_deadline_at;
        Ok::<_, rusqlite::Error>(Claimed {
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
    tx.prepare(DUE)?.until(values, read, is_last)
}

/// Makes dead letters of overdue deliveries that a reader found, unless they have changed since.
#[derive(Debug)]
pub(super) struct DeadLetterOverdue {
    pub(super) found: Vec<i64>,
    pub(super) now: Moment,
}

impl Step for DeadLetterOverdue {
    type Answer = u64;
    const CONTEXT: &'static str = "settle overdue deliveries";

    fn bulk_rows(&self) -> usize {
        self.found.len()
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let found = json(self.found.iter().copied());
        let Moment { wall, service } = self.now;
        let values = params![found, wall.as_micros(), service.as_micros()];
        let read = |row: &Row<'_>| row.get(0).map(MappingId);
        let ended = tx.sqlite.all::<_, rusqlite::Error>(DEAD_LETTER_FOUND, values, read)?;
        ended.iter().for_each(|mapping_id| tx.statistics.counts().dead(*mapping_id, 1));
        let dead = u64::try_from(ended.len()).unwrap_or(u64::MAX);
        tx.state.ledger.pending = tx.state.ledger.pending.saturating_sub(dead);
        tx.state.ledger.dead += dead;
        Ok(dead)
    }
}

/// Finds deliveries for [`DeadLetterOverdue`], on a reader: as many as the largest limit, whichever mappings they
/// are of.
pub(super) async fn find_overdue(
    conn: &mut SqliteConnection,
    wants: &[ClaimWant],
    now: ServiceTime,
) -> Result<Vec<i64>, sqlx::Error> {
    let pairs = wants
        .iter()
        .map(|it| format!("[{},{}]", it.mapping_id.0, it.resumed_deadline_at.as_micros()));
    let pairs: Vec<String> = pairs.collect();
    let limit = wants.iter().map(|want| want.limit).max().unwrap_or(0);
    sqlx::query_scalar(FIND_OVERDUE)
        .bind(format!("[{}]", pairs.join(",")))
        .bind(now.as_micros())
        .bind(int(u64::from(limit)))
        .fetch_all(conn)
        .await
}
