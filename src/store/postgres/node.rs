//! Nodes: incarnations of processes, their slots and heartbeats.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::keys::SLOTS;
use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::domain::id::NodeId;
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
    pub(super) now: Timestamp,
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
                 VALUES ($1, $2, $3, $3) RETURNING id",
                params![self.name.as_str(), slot, self.now.as_micros()],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        Ok(NodeId(id))
    }
}

async fn end(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Failure> {
    let slot = tx.keys.slot();
    tx.execute(
        "UPDATE nodes SET ended_at = $1 WHERE slot = $2 AND ended_at IS NULL",
        params![now.as_micros(), slot],
    )
    .await?;
    Ok(())
}

/// Ends this process's node: others take over its leases at once.
#[derive(Debug)]
pub(super) struct EndNode {
    pub(super) now: Timestamp,
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
    pub(super) now: Timestamp,
}

#[async_trait]
impl Step for Heartbeat {
    type Answer = ();
    const CONTEXT: &'static str = "record a heartbeat";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "UPDATE nodes SET last_seen_at = greatest(last_seen_at, $1)
             WHERE id = $2 AND ended_at IS NULL",
            params![self.now.as_micros(), self.node_id.0],
        )
        .await?;
        Ok(())
    }
}

/// The newest heartbeat of any node.
pub(super) async fn last_seen_at(
    conn: &mut PgConnection,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(last_seen_at) FROM nodes").fetch_one(conn).await?;
    Ok(newest.map(Timestamp::from_micros))
}
