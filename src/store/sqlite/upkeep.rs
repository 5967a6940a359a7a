//! Small records beside the outbox: nodes and their heartbeats.

use sqlx::sqlite::SqliteConnection;

use super::failure::Failure;
use super::writer::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::id::NodeId;

/// Enters a process.
#[derive(Debug)]
pub(super) struct RegisterNode {
    pub(super) name: String,
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for RegisterNode {
    type Answer = NodeId;
    const CONTEXT: &'static str = "register the node";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<NodeId, Failure> {
        let done =
            sqlx::query("INSERT INTO nodes (name, started_at, last_seen_at) VALUES (?1, ?2, ?2)")
                .bind(&self.name)
                .bind(self.now.as_micros())
                .execute(&mut *tx.conn)
                .await?;
        Ok(NodeId(done.last_insert_rowid()))
    }
}

/// Notes that a node lives.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) node_id: NodeId,
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for Heartbeat {
    type Answer = ();
    const CONTEXT: &'static str = "note a heartbeat";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        sqlx::query("UPDATE nodes SET last_seen_at = ? WHERE id = ?")
            .bind(self.now.as_micros())
            .bind(self.node_id.0)
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }
}

/// The newest heartbeat of any node.
pub(super) async fn last_seen_at(
    conn: &mut SqliteConnection,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT max(last_seen_at) FROM nodes").fetch_one(conn).await?;
    Ok(newest.map(Timestamp::from_micros))
}
