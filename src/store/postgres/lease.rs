//! Leases between claim and record: release, extension, and those without an outcome.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgRow};

use super::tx::{Step, Tx, params};
use crate::domain::id::{DeliveryId, MappingId, NodeId};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::{Columns, int};
use crate::store::{ExpiredLease, LeaseRef};

const RELEASE: &str = "WITH picked AS MATERIALIZED (
        SELECT l.at FROM unnest($1::bigint[], $2::bigint[]) AS g (id, token) CROSS JOIN LATERAL
            (SELECT ctid AS at FROM leased WHERE leased.id = g.id AND leased.token = g.token
             FOR UPDATE) AS l
     ), taken AS (
        DELETE FROM leased WHERE ctid = ANY (ARRAY (SELECT at FROM picked)) RETURNING *
     )
     INSERT INTO pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
        tried, last_outcome, last_status, due_at)
     SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
        last_outcome, last_status, $3 FROM taken";

const EXTEND: &str = "UPDATE leased AS l SET lease_expires_at = $3
     FROM unnest($1::bigint[], $2::bigint[]) AS g (id, token)
     WHERE l.id = g.id AND l.token = g.token";

/// How long past its expiry a lease of another node that lives is left to that node: it knows what it has in hand, and
/// may not have been able to record it.
const OWN_EXPIRY: Duration = Duration::from_secs(600);

/// An attempt is given its key after its delivery.
const EXPIRED: &str = "SELECT l.id, l.mapping_id, l.token, l.node_id, l.lease_expires_at, l.tried,
        (SELECT count(*) FROM attempts AS a
            WHERE a.delivery_id = l.id AND a.outcome = 'unknown'),
        l.deadline_at
     FROM leased AS l
     WHERE EXISTS (SELECT 1 FROM nodes AS n WHERE n.id = l.node_id AND n.ended_at IS NOT NULL)
        OR l.lease_expires_at <= $1 AND (l.lease_expires_at <= $1 - $4
            OR EXISTS (SELECT 1 FROM nodes AS n WHERE n.id = l.node_id AND n.slot = $3))
     ORDER BY l.lease_expires_at, l.id LIMIT $2";

/// Leases as columns, in the order of keys.
fn columns(leases: &[LeaseRef]) -> (Vec<i64>, Vec<i64>) {
    let mut pairs: Vec<(i64, i64)> =
        leases.iter().map(|it| (it.delivery_id.0, i64::from(it.token))).collect();
    pairs.sort_unstable();
    pairs.into_iter().unzip()
}

/// Releases leases unused.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) due_at: ServiceTime,
}

#[async_trait]
impl Step for Release {
    type Answer = u64;
    const CONTEXT: &'static str = "release leases";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let (ids, tokens) = columns(&self.leases);
        let released = tx.execute(RELEASE, params![ids, tokens, self.due_at.as_micros()]).await?;
        tx.counts.ledger.leased -= int(released);
        tx.counts.ledger.pending += int(released);
        Ok(released)
    }
}

/// Extends leases.
#[derive(Debug)]
pub(super) struct Extend {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) until: ServiceTime,
}

#[async_trait]
impl Step for Extend {
    type Answer = ();
    const CONTEXT: &'static str = "extend leases";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let (ids, tokens) = columns(&self.leases);
        tx.execute(EXTEND, params![ids, tokens, self.until.as_micros()]).await?;
        Ok(())
    }
}

/// Leases of the node with this slot past their expiry, and those of nodes that ended; oldest expiry first.
pub(super) async fn expired(
    conn: &mut PgConnection,
    (slot, now): (i64, ServiceTime),
    limit: u32,
) -> Result<Vec<ExpiredLease>, Failure> {
    let rows = sqlx::query(EXPIRED)
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .bind(slot)
        .bind(i64::try_from(OWN_EXPIRY.as_micros()).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read_expired).collect()
}

fn read_expired(row: &PgRow) -> Result<ExpiredLease, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(ExpiredLease {
        delivery_id: DeliveryId(from.take()?),
        mapping_id: MappingId(from.take()?),
        token: from.small()?,
        node_id: NodeId(from.take()?),
        expires_at: from.service_at()?,
        tried: from.small()?,
        unknown: from.small()?,
        deadline_at: from.service_at()?,
    })
}
