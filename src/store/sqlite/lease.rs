//! Leases between claim and record: release, extension, and expired leases without an outcome.

use rusqlite::params;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::{Step, Tx};
use crate::domain::id::{DeliveryId, MappingId, NodeId};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::Columns;
use crate::store::{ExpiredLease, LeaseRef};

/// Releases leases unused.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) due_at: ServiceTime,
}

impl Step for Release {
    type Answer = u64;
    const CONTEXT: &'static str = "release leases";

    fn bulk_rows(&self) -> usize {
        self.leases.len()
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let mut released = 0;
        let mut release = tx.prepare(
            "UPDATE deliveries SET state = 'pending', due_at = ?,
                lease_node_id = NULL, lease_expires_at = NULL
             WHERE id = ? AND token = ? AND state = 'leased'",
        )?;
        for lease in &self.leases {
            let LeaseRef { delivery_id, token } = lease;
            released += release.execute(params![self.due_at.as_micros(), delivery_id.0, token])?;
        }
        tx.state.ledger.leased = tx.state.ledger.leased.saturating_sub(released);
        tx.state.ledger.pending += released;
        Ok(released)
    }
}

/// Extends leases.
#[derive(Debug)]
pub(super) struct Extend {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) until: ServiceTime,
}

impl Step for Extend {
    type Answer = ();
    const CONTEXT: &'static str = "extend leases";

    fn bulk_rows(&self) -> usize {
        self.leases.len()
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let mut extend = tx.prepare(
            "UPDATE deliveries SET lease_expires_at = ?
             WHERE id = ? AND token = ? AND state = 'leased'",
        )?;
        for LeaseRef { delivery_id, token } in &self.leases {
            extend.execute(params![self.until.as_micros(), delivery_id.0, token])?;
        }
        Ok(())
    }
}

/// Which leases count as expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryScope {
    /// Those whose `lease_expires_at` is at or before this.
    Until(ServiceTime),
    /// Those of every other node, which have all ended.
    OtherThan(NodeId),
}

/// Leases in `scope`, oldest expiry first.
pub(super) async fn expired(
    conn: &mut SqliteConnection,
    scope: ExpiryScope,
    limit: u32,
) -> Result<Vec<ExpiredLease>, Failure> {
    let (until, other_than) = match scope {
        ExpiryScope::Until(at) => (at.as_micros(), None),
        ExpiryScope::OtherThan(node_id) => (i64::MAX, Some(node_id.0)),
    };
    let rows = sqlx::query(
        "SELECT id, mapping_id, token, lease_node_id, lease_expires_at, tried,
            (SELECT count(*) FROM attempts
                WHERE delivery_id = deliveries.id AND outcome = 'unknown'), deadline_at
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

fn read_expired(row: &sqlx::sqlite::SqliteRow) -> Result<ExpiredLease, Failure> {
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
