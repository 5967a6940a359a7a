//! Nodes and their heartbeats.

use rusqlite::params;

use super::service_time;
use super::writer::step::{Step, Tx};
use crate::domain::clock::Moment;
use crate::domain::id::NodeId;
use crate::store::failure::Failure;

/// Registers a node.
#[derive(Debug)]
pub(super) struct RegisterNode {
    pub(super) name: String,
    pub(super) now: Moment,
}

impl Step for RegisterNode {
    type Answer = NodeId;
    const CONTEXT: &'static str = "register the node";

    fn run(&self, tx: &mut Tx<'_>) -> Result<NodeId, Failure> {
        let id = tx.sqlite.insert(
            "INSERT INTO nodes (name, started_at, last_seen_at) VALUES (?1, ?2, ?2)",
            params![self.name, self.now.wall.as_micros()],
        )?;
        service_time::note(tx, self.now)?;
        Ok(NodeId(id))
    }
}

/// Records a node's heartbeat.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) node_id: NodeId,
    pub(super) now: Moment,
}

impl Step for Heartbeat {
    type Answer = ();
    const CONTEXT: &'static str = "record a heartbeat";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "UPDATE nodes SET last_seen_at = ? WHERE id = ?",
            params![self.now.wall.as_micros(), self.node_id.0],
        )?;
        service_time::note(tx, self.now)?;
        Ok(())
    }
}
