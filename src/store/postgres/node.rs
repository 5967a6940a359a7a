//! Nodes: incarnations of processes, their slots and heartbeats.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::keys::SLOTS;
use super::service_time;
use super::tx::{Step, Tx, params};
use crate::domain::clock::Moment;
use crate::domain::id::NodeId;
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;

/// A slot that no live node has. Slots are given in turn, so that one is used again late.
pub(super) async fn free_slot(conn: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    for _ in 0..SLOTS {
        let row = sqlx::query(
            "WITH next AS (SELECT nextval('key_slots') AS slot)
             SELECT slot, EXISTS (SELECT 1 FROM nodes AS n
                WHERE n.slot = next.slot AND n.ended_at IS NULL) FROM next",
        )
        .fetch_one(&mut *conn)
        .await?;
        if !row.try_get::<bool, _>(1)? {
            return row.try_get(0).map(Some);
        }
    }
    Ok(None)
}

/// Registers a node; an earlier one of the same process has ended.
#[derive(Debug)]
pub(super) struct RegisterNode {
    pub(super) name: String,
    pub(super) now: Moment,
}

#[async_trait]
impl Step for RegisterNode {
    type Answer = NodeId;
    const CONTEXT: &'static str = "register the node";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<NodeId, Failure> {
        end(tx, self.now).await?;
        let slot = tx.keys.slot();
        let id = tx
            .one(
                "INSERT INTO nodes (name, slot, started_at, last_seen_at)
                 VALUES ($1, $2, $3, $4) RETURNING id",
                params![
                    self.name.as_str(),
                    slot,
                    self.now.wall.as_micros(),
                    self.now.service.as_micros(),
                ],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        service_time::note(tx, self.now).await?;
        Ok(NodeId(id))
    }
}

async fn end(tx: &mut Tx<'_>, now: Moment) -> Result<(), Failure> {
    let slot = tx.keys.slot();
    tx.execute(
        "UPDATE nodes SET ended_at = $1 WHERE slot = $2 AND ended_at IS NULL",
        params![now.service.as_micros(), slot],
    )
    .await?;
    Ok(())
}

/// Ends this process's node: others take over its leases at once.
#[derive(Debug)]
pub(super) struct EndNode {
    pub(super) now: Moment,
}

#[async_trait]
impl Step for EndNode {
    type Answer = ();
    const CONTEXT: &'static str = "end the node";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        end(tx, self.now).await
    }
}

/// Records a node's heartbeat.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) node_id: NodeId,
    pub(super) now: Moment,
}

#[async_trait]
impl Step for Heartbeat {
    /// Whether the node has not ended.
    type Answer = bool;
    const CONTEXT: &'static str = "record a heartbeat";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let recorded = tx
            .execute(
                "UPDATE nodes SET last_seen_at = greatest(last_seen_at, $1)
             WHERE id = $2 AND ended_at IS NULL",
                params![self.now.service.as_micros(), self.node_id.0],
            )
            .await?;
        service_time::note(tx, self.now).await?;
        Ok(recorded > 0)
    }
}

/// How long after its last heartbeat a node has ended: its leases are longer.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Ends the other nodes that are silent: their leases are expired at once, and what they still write under the
/// ended key is too.
#[derive(Debug)]
pub(super) struct EndSilent {
    pub(super) now: ServiceTime,
}

#[async_trait]
impl Step for EndSilent {
    type Answer = u64;
    const CONTEXT: &'static str = "end silent nodes";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let slot = tx.keys.slot();
        tx.execute(
            "UPDATE nodes SET ended_at = $1 WHERE ended_at IS NULL AND last_seen_at < $2 AND slot <> $3",
            params![self.now.as_micros(), (self.now - SILENCE).as_micros(), slot],
        )
        .await
    }
}
