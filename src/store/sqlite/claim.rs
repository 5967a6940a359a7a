//! Claim: leasing due deliveries, each wanted mapping on its own, and making dead letters of those
//! that were tried in vain until their deadline. It reads no more than it may lease, so that its
//! cost does not grow with the backlog.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Row};

use super::failure::Failure;
use super::row::{Columns, int};
use super::shape::{Shaped, bind_key};
use super::writer::{Step, Tx};
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MappingId};
use crate::store::{ClaimRequest, ClaimWant, LeaseRef, LeasedDelivery};

/// Overdue deliveries that a claim looks at beside those it leases.
const OVERDUE_AT_ONCE: i64 = 256;

/// The statements.
#[derive(Debug)]
pub(super) struct Statements {
    lease: Shaped,
    bury: Shaped,
    next_due: Shaped,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            lease: Shaped::new(
                "WITH claimed (id, node_id, expires_at, tried, deadline_at) AS (VALUES ",
                5,
                ")
                 UPDATE deliveries AS d SET state = 'leased', due_at = NULL, token = d.token + 1,
                    tried = claimed.tried, deadline_at = claimed.deadline_at,
                    lease_node_id = claimed.node_id, lease_expires_at = claimed.expires_at
                 FROM claimed WHERE d.id = claimed.id AND d.state = 'pending'",
            ),
            bury: Shaped::new(
                "WITH overdue (id, settled_at) AS (VALUES ",
                2,
                ")
                 UPDATE deliveries AS d SET state = 'dead', reason = 'deadline', due_at = NULL,
                    settled_at = overdue.settled_at
                 FROM overdue WHERE d.id = overdue.id AND d.state = 'pending'",
            ),
            next_due: next_due_statement(),
        }
    }
}

/// When the next delivery of each mapping is due, on a reader.
pub(super) async fn next_due(
    conn: &mut SqliteConnection,
    mappings: &[i64],
) -> Result<Vec<(MappingId, Timestamp)>, sqlx::Error> {
    read_next_due(&next_due_statement().fetch(conn, mappings, bind_key).await?)
}

/// For each mapping given, when its next pending delivery is due.
fn next_due_statement() -> Shaped {
    Shaped::new(
        "WITH wanted (id) AS (VALUES ",
        1,
        ")
         SELECT wanted.id, (SELECT min(due_at) FROM deliveries
            WHERE state = 'pending' AND mapping_id = wanted.id) FROM wanted",
    )
}

/// Reads the rows that [`next_due_statement`] gives.
fn read_next_due(rows: &[SqliteRow]) -> Result<Vec<(MappingId, Timestamp)>, sqlx::Error> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(due_at) = row.try_get::<Option<i64>, _>(1)? {
            found.push((MappingId(row.try_get(0)?), Timestamp::from_micros(due_at)));
        }
    }
    Ok(found)
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

/// The writer's part of a claim.
#[derive(Debug)]
pub(super) struct ClaimDue(pub(super) ClaimRequest);

struct LeaseRow {
    claimed: Claimed,
    node_id: i64,
}

fn bind_lease(row: &LeaseRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.claimed.id.0)?;
    to.add(row.node_id)?;
    to.add(row.claimed.lease_expires_at.as_micros())?;
    to.add(i64::from(row.claimed.tried))?;
    to.add(row.claimed.deadline_at.as_micros())
}

fn bind_buried((id, at): &(i64, Timestamp), to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(*id)?;
    to.add(at.as_micros())
}

#[async_trait::async_trait]
impl Step for ClaimDue {
    type Answer = Leased;
    const CONTEXT: &'static str = "claim due deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Leased, Failure> {
        let mut leased = Leased::default();
        for want in &self.0.wants {
            self.serve(tx, want, &mut leased).await?;
        }
        let wanted: Vec<i64> = self.0.wants.iter().map(|want| want.mapping_id.0).collect();
        let statement = &tx.claim.next_due;
        leased.next_due = read_next_due(&statement.fetch(tx.conn, &wanted, bind_key).await?)?;
        Ok(leased)
    }
}

impl ClaimDue {
    /// Serves one mapping.
    async fn serve(
        &self,
        tx: &mut Tx<'_>,
        want: &ClaimWant,
        leased: &mut Leased,
    ) -> Result<(), Failure> {
        let now = self.0.now;
        let due = sqlx::query(
            "SELECT id, event_id, token, tried, accepted_at, deadline_at FROM deliveries
             WHERE state = 'pending' AND mapping_id = ? AND due_at <= ?
             ORDER BY due_at LIMIT ?",
        )
        .bind(want.mapping_id.0)
        .bind(now.as_micros())
        .bind(i64::from(want.limit) + OVERDUE_AT_ONCE)
        .fetch_all(&mut *tx.conn)
        .await?;
        let mut overdue = Vec::new();
        let mut leases = Vec::new();
        for row in &due {
            let claimed = read_due(row, want, now)?;
            if claimed.tried > 0 && claimed.deadline_at <= now {
                overdue.push((claimed.id.0, now));
            } else if leases.len() < usize::try_from(want.limit).unwrap_or(usize::MAX) {
                leases.push(LeaseRow { claimed, node_id: self.0.node_id.0 });
            }
        }
        if !overdue.is_empty() {
            leased.overdue.push((want.mapping_id, bury(tx, &overdue).await?));
        }
        let statement = &tx.claim.lease;
        let changed = statement.execute(tx.conn, &leases, bind_lease).await?;
        tx.memory.ledger.pending = tx.memory.ledger.pending.saturating_sub(changed);
        tx.memory.ledger.leased += changed;
        leased.deliveries.extend(leases.iter().map(|row| row.claimed));
        Ok(())
    }
}

/// The delivery as it will be when leased: a deadline from before the mapping was resumed gives way
/// to the resumed window, whose tries start from none.
fn read_due(row: &SqliteRow, want: &ClaimWant, now: Timestamp) -> Result<Claimed, sqlx::Error> {
    let mut from = Columns::from(row, 0);
    let id = DeliveryId(from.take()?);
    let event_id = EventId(from.take()?);
    let token = from.small()?.saturating_add(1);
    let tried = from.small()?;
    let accepted_at = from.at()?;
    let deadline_at = from.at()?;
    let is_resumed = deadline_at < want.resumed_deadline_at;
    Ok(Claimed {
        id,
        event_id,
        mapping_id: want.mapping_id,
        token,
        tried: if is_resumed { 0 } else { tried },
        accepted_at,
        deadline_at: if is_resumed { want.resumed_deadline_at } else { deadline_at },
        lease_expires_at: now + want.lease,
    })
}

/// Makes dead letters of pending deliveries; returns how many were pending.
async fn bury(tx: &mut Tx<'_>, overdue: &[(i64, Timestamp)]) -> Result<u64, sqlx::Error> {
    let statement = &tx.claim.bury;
    let buried = statement.execute(tx.conn, overdue, bind_buried).await?;
    tx.memory.ledger.pending = tx.memory.ledger.pending.saturating_sub(buried);
    tx.memory.ledger.dead += buried;
    Ok(buried)
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
        let mut still = Vec::with_capacity(self.found.len());
        for ids in self.found.chunks(500) {
            let marks = vec!["?"; ids.len()].join(",");
            let sql = format!(
                "SELECT id FROM deliveries WHERE id IN ({marks})
                    AND state = 'pending' AND tried > 0 AND deadline_at <= ?"
            );
            let mut query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
            for id in ids {
                query = query.bind(*id);
            }
            let ids: Vec<i64> = query.bind(self.now.as_micros()).fetch_all(&mut *tx.conn).await?;
            still.extend(ids.into_iter().map(|id| (id, self.now)));
        }
        Ok(bury(tx, &still).await?)
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
