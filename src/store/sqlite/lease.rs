//! Leases between claim and record: giving them back, finding those without an outcome, and moving
//! the whole schedule when the clock jumps.

use sqlx::sqlite::SqliteConnection;

use super::dedup;
use super::failure::Failure;
use super::row::Columns;
use super::writer::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::id::{DeliveryId, MappingId, NodeId};
use crate::store::{ExpiredLease, LeaseRef};

/// Gives leases back unused.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) due_at: Timestamp,
}

#[async_trait::async_trait]
impl Step for Release {
    type Answer = u64;
    const CONTEXT: &'static str = "release leases";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let mut released = 0;
        for lease in &self.leases {
            let done = sqlx::query(
                "UPDATE deliveries SET state = 'pending', due_at = ?,
                    lease_node_id = NULL, lease_expires_at = NULL
                 WHERE id = ? AND token = ? AND state = 'leased'",
            )
            .bind(self.due_at.as_micros())
            .bind(lease.delivery_id.0)
            .bind(i64::from(lease.token))
            .execute(&mut *tx.conn)
            .await?;
            released += done.rows_affected();
        }
        tx.memory.ledger.leased = tx.memory.ledger.leased.saturating_sub(released);
        tx.memory.ledger.pending += released;
        Ok(released)
    }
}

/// Which leases count as expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryScope {
    /// Those whose `lease_expires_at` is at or before this.
    Until(Timestamp),
    /// Those of every other node, which have all ended.
    OtherThan(NodeId),
}

/// Leases in `scope`, oldest expiry first.
pub(super) async fn expired(
    conn: &mut SqliteConnection,
    scope: ExpiryScope,
    limit: u32,
) -> Result<Vec<ExpiredLease>, sqlx::Error> {
    let (until, other_than) = match scope {
        ExpiryScope::Until(at) => (at.as_micros(), None),
        ExpiryScope::OtherThan(node_id) => (i64::MAX, Some(node_id.0)),
    };
    let rows = sqlx::query(
        "SELECT id, mapping_id, token, lease_node_id, lease_expires_at, tried, deadline_at
         FROM deliveries INDEXED BY deliveries_leased
         WHERE state = 'leased' AND lease_expires_at <= ? AND lease_node_id IS NOT ?
         ORDER BY lease_expires_at LIMIT ?",
    )
    .bind(until)
    .bind(other_than)
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_expired).collect()
}

fn read_expired(row: &sqlx::sqlite::SqliteRow) -> Result<ExpiredLease, sqlx::Error> {
    let mut from = Columns::from(row, 0);
    Ok(ExpiredLease {
        delivery_id: DeliveryId(from.take()?),
        mapping_id: MappingId(from.take()?),
        token: from.small()?,
        node_id: NodeId(from.take()?),
        expires_at: from.at()?,
        tried: from.small()?,
        deadline_at: from.at()?,
    })
}

/// Moves the schedule by a jump of the clock.
#[derive(Debug)]
pub(super) struct Shift {
    pub(super) micros: i64,
}

#[async_trait::async_trait]
impl Step for Shift {
    type Answer = ();
    const CONTEXT: &'static str = "shift the schedule";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for sql in [
            "UPDATE deliveries SET due_at = due_at + ?1, deadline_at = deadline_at + ?1
             WHERE state = 'pending'",
            "UPDATE deliveries
             SET lease_expires_at = lease_expires_at + ?1, deadline_at = deadline_at + ?1
             WHERE state = 'leased'",
        ] {
            sqlx::query(sql).bind(self.micros).execute(&mut *tx.conn).await?;
        }
        dedup::shift(tx, self.micros).await?;
        Ok(())
    }
}
