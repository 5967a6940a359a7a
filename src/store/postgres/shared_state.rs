//! What nodes share: owners of destinations with limits, circuits, waits. Rows are locked in the order of their
//! keys.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::tx::{Step, Tx, params};
use crate::domain::id::{DestinationId, MappingId, NodeId};
use crate::store::failure::Failure;
use crate::store::row::{self, Columns, int};
use crate::store::{CircuitChanges, ClaimWant, DestinationOwner, LeaseRef, SharedCircuit};
use crate::store::{SharedState, Takeover};

const OWNERS: &str =
    "SELECT destination_id, node_id, term, beat, attempt_ms FROM destination_owners";
const CIRCUITS: &str = "SELECT mapping_id, opened_at, probe_at, interval_us FROM circuits";
const NODES: &str = "SELECT count(*) FROM nodes WHERE ended_at IS NULL";

const RENEW: &str = "WITH mine AS MATERIALIZED (
        SELECT o.destination_id, g.attempt_ms FROM destination_owners AS o
        JOIN unnest($2::bigint[], $3::bigint[]) AS g (id, attempt_ms) ON g.id = o.destination_id
        WHERE o.node_id = $1
            AND EXISTS (SELECT 1 FROM nodes AS n WHERE n.id = $1 AND n.ended_at IS NULL)
        ORDER BY o.destination_id FOR UPDATE OF o
     )
     UPDATE destination_owners AS o
     SET beat = o.beat + 1, attempt_ms = greatest(o.attempt_ms, m.attempt_ms)
     FROM mine AS m WHERE o.destination_id = m.destination_id
     RETURNING o.destination_id";

/// What other live nodes have leased of a destination; the requests of the owner before have ended.
const OTHERS_LEASES: &str = "SELECT 1 FROM leased AS l JOIN nodes AS n ON n.id = l.node_id
     WHERE l.destination_id = g.id AND n.ended_at IS NULL AND l.node_id <> $1";

const RELEASE: &str = "UPDATE destination_owners SET node_id = NULL, beat = beat + 1
     WHERE node_id = $1 AND destination_id = ANY ($2)";

const OPEN: &str = "INSERT INTO circuits AS c (mapping_id, opened_at, probe_at, interval_us)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
        AS g (id, opened_at, probe_at, interval_us) ORDER BY g.id
     ON CONFLICT (mapping_id) DO UPDATE SET probe_at = greatest(c.probe_at, excluded.probe_at),
        interval_us = greatest(c.interval_us, excluded.interval_us)";

/// Locks the circuits that admit a probe. What another node is probing is skipped.
const ADMIT_PROBES: &str = "SELECT c.mapping_id FROM circuits AS c
     WHERE c.mapping_id = ANY ($1) AND c.probe_at <= $2 AND NOT EXISTS (SELECT 1 FROM leased AS l
        WHERE l.id = c.probe_id AND l.token = c.probe_token)
     ORDER BY c.mapping_id FOR UPDATE SKIP LOCKED";

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn span(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Reads what is shared.
pub(super) async fn read(conn: &mut PgConnection) -> Result<SharedState, Failure> {
    let mut state = SharedState::default();
    for row in sqlx::query(OWNERS).fetch_all(&mut *conn).await? {
        let mut from = Columns::from(&row, 0);
        state.owners.push(DestinationOwner {
            destination_id: DestinationId(from.take()?),
            node_id: from.take::<Option<i64>>()?.map(NodeId),
            term: from.take()?,
            beat: from.take()?,
            attempt: Duration::from_millis(span(from.take()?)),
        });
    }
    for row in sqlx::query(CIRCUITS).fetch_all(&mut *conn).await? {
        let mut from = Columns::from(&row, 0);
        state.circuits.push(SharedCircuit {
            mapping_id: MappingId(from.take()?),
            opened_at: from.service_at()?,
            probe_at: from.service_at()?,
            interval: Duration::from_micros(span(from.take()?)),
        });
    }
    for row in sqlx::query(row::RECEIVER_WAITS).fetch_all(&mut *conn).await? {
        state.waits.push(row::receiver_wait(&row)?);
    }
    let nodes: i64 = sqlx::query(NODES).fetch_one(conn).await?.try_get(0)?;
    state.nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    Ok(state)
}

/// Renews the owner's rows.
#[derive(Debug)]
pub(super) struct RenewOwners {
    pub(super) node_id: NodeId,
    pub(super) owned: Vec<(DestinationId, Duration)>,
}

#[async_trait]
impl Step for RenewOwners {
    type Answer = Vec<DestinationId>;
    const CONTEXT: &'static str = "renew the ownership of destinations";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<DestinationId>, Failure> {
        let (ids, attempts): (Vec<i64>, Vec<i64>) =
            self.owned.iter().map(|(id, attempt)| (id.0, millis(*attempt))).unzip();
        let values = params![self.node_id.0, ids, attempts];
        tx.all(RENEW, values, |row| Ok(DestinationId(row.try_get(0)?))).await
    }
}

/// Takes over destinations whose owner is as it was seen.
#[derive(Debug)]
pub(super) struct TakeOver {
    pub(super) node_id: NodeId,
    pub(super) wanted: Vec<Takeover>,
}

#[async_trait]
impl Step for TakeOver {
    type Answer = ();
    const CONTEXT: &'static str = "take over destinations";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let column =
            |of: fn(&Takeover) -> i64| -> Vec<i64> { self.wanted.iter().map(of).collect() };
        let values = || {
            params![
                self.node_id.0,
                column(|it| it.destination_id.0),
                column(|it| it.seen.map_or(0, |(term, _)| term)),
                column(|it| it.seen.map_or(0, |(_, beat)| beat)),
                column(|it| millis(it.attempt)),
            ]
        };
        let wanted = "unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS g (id, term, beat, attempt_ms)";
        let is_live = "EXISTS (SELECT 1 FROM nodes AS n WHERE n.id = $1 AND n.ended_at IS NULL)";
        let first = format!(
            "INSERT INTO destination_owners (destination_id, node_id, term, beat, attempt_ms)
             SELECT g.id, $1, 1, g.beat, g.attempt_ms FROM {wanted}
             WHERE g.term = 0 AND {is_live} AND NOT EXISTS ({OTHERS_LEASES}) ORDER BY g.id
             ON CONFLICT DO NOTHING"
        );
        tx.execute(sqlx::AssertSqlSafe(first), values()).await?;
        let next = format!(
            "WITH free AS MATERIALIZED (
                SELECT o.destination_id, g.attempt_ms FROM destination_owners AS o
                JOIN {wanted} ON g.id = o.destination_id
                WHERE o.term = g.term AND o.beat = g.beat AND {is_live}
                    AND NOT EXISTS ({OTHERS_LEASES} AND l.node_id IS DISTINCT FROM o.node_id)
                ORDER BY o.destination_id FOR UPDATE OF o SKIP LOCKED
             )
             UPDATE destination_owners AS o
             SET node_id = $1, term = o.term + 1, beat = 0, attempt_ms = f.attempt_ms
             FROM free AS f WHERE o.destination_id = f.destination_id"
        );
        tx.execute(sqlx::AssertSqlSafe(next), values()).await?;
        Ok(())
    }
}

/// Releases destinations.
#[derive(Debug)]
pub(super) struct ReleaseOwners {
    pub(super) node_id: NodeId,
    pub(super) owned: Vec<DestinationId>,
}

#[async_trait]
impl Step for ReleaseOwners {
    type Answer = ();
    const CONTEXT: &'static str = "release destinations";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let ids: Vec<i64> = self.owned.iter().map(|id| id.0).collect();
        tx.execute(RELEASE, params![self.node_id.0, ids]).await?;
        Ok(())
    }
}

/// Stores changes of circuits.
#[derive(Debug)]
pub(super) struct PutCircuits(pub(super) CircuitChanges);

#[async_trait]
impl Step for PutCircuits {
    type Answer = ();
    const CONTEXT: &'static str = "store circuits";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let CircuitChanges { open, closed } = &self.0;
        let column = |of: fn(&SharedCircuit) -> i64| -> Vec<i64> { open.iter().map(of).collect() };
        let values = params![
            column(|it| it.mapping_id.0),
            column(|it| it.opened_at.as_micros()),
            column(|it| it.probe_at.as_micros()),
            column(|it| micros(it.interval)),
        ];
        tx.execute(OPEN, values).await?;
        let closed: Vec<i64> = closed.iter().map(|id| id.0).collect();
        tx.execute("DELETE FROM circuits WHERE mapping_id = ANY ($1)", params![closed]).await?;
        Ok(())
    }
}

/// Which of these probes this claim may make.
pub(super) async fn admit_probes(
    tx: &mut Tx<'_>,
    wants: &[ClaimWant],
    now: i64,
) -> Result<Vec<MappingId>, Failure> {
    let ids: Vec<i64> = wants.iter().filter(|it| it.is_probe).map(|it| it.mapping_id.0).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    tx.all(ADMIT_PROBES, params![ids, now], |row| Ok(MappingId(row.try_get(0)?))).await
}

/// A probe is leased: there is no other before it has ended and the interval is over.
pub(super) async fn note_probe(
    tx: &mut Tx<'_>,
    mapping_id: MappingId,
    lease: LeaseRef,
    now: i64,
) -> Result<(), Failure> {
    tx.execute(
        "UPDATE circuits SET probe_id = $2, probe_token = $3, probe_at = $4 + interval_us
         WHERE mapping_id = $1",
        params![mapping_id.0, lease.delivery_id.0, int(u64::from(lease.token)), now],
    )
    .await?;
    Ok(())
}
