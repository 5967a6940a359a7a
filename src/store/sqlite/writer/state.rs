//! The writer's state in memory: key counters, the ledger, the rotation of de-duplication tables, the
//! cursor of retention. Copied when a transaction begins and restored when it fails, so that it always
//! agrees with the file.

use rusqlite::params;

use super::super::dedup::rotation::Rotation;
use super::connection::Connection;
use crate::domain::ledger::Ledger;
use crate::store::row::{int, read_ledger};

/// The state as of the last commit, plus the running transaction's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriterState {
    /// The key of the next event.
    pub(crate) next_event_id: i64,
    /// The key of the next delivery.
    pub(crate) next_delivery_id: i64,
    /// The key of the next attempt.
    pub(crate) next_attempt_id: i64,
    /// The totals.
    pub(crate) ledger: Ledger,
    /// The de-duplication tables.
    pub(crate) rotation: Rotation,
    /// Retention's keyset cursor: the last event that its sweep has scanned. A restart begins a new sweep.
    pub(crate) pruned_to: i64,
}

impl WriterState {
    /// Reads it from the file.
    pub(crate) fn load(sqlite: &Connection) -> rusqlite::Result<Self> {
        let rotation = Rotation::load(sqlite)?;
        sqlite.one(
            "SELECT events_accepted, events_rejected, events_duplicate, accepted, pending, leased,
                delivered, dead, discarded, delivered_pruned, dead_pruned, discarded_pruned,
                max(next_event_id, (SELECT coalesce(max(id), 0) + 1 FROM events)),
                max(next_delivery_id, (SELECT coalesce(max(id), 0) + 1 FROM deliveries)),
                max(next_attempt_id, (SELECT coalesce(max(id), 0) + 1 FROM attempts))
             FROM ledger",
            &[],
            |row| {
                let [next_event_id, next_delivery_id, next_attempt_id] =
                    [row.get(12)?, row.get(13)?, row.get(14)?];
                let ledger = read_ledger(|column| row.get(column))?;
                Ok(Self {
                    next_event_id,
                    next_delivery_id,
                    next_attempt_id,
                    ledger,
                    rotation,
                    pruned_to: 0,
                })
            },
        )
    }

    /// Writes key counters, ledger and, where it has changed, the tail of the statistics log in the running
    /// transaction.
    pub(crate) fn save(
        &self,
        sqlite: &Connection,
        statistics: Option<&[u8]>,
    ) -> rusqlite::Result<()> {
        let ledger = &self.ledger;
        sqlite.execute(
            "UPDATE ledger SET events_accepted = ?, events_rejected = ?, events_duplicate = ?,
                accepted = ?, pending = ?, leased = ?, delivered = ?, dead = ?, discarded = ?,
                delivered_pruned = ?, dead_pruned = ?, discarded_pruned = ?,
                next_event_id = ?, next_delivery_id = ?, next_attempt_id = ?,
                statistics = coalesce(?, statistics)
             WHERE id = 1",
            params![
                int(ledger.events_accepted),
                int(ledger.events_rejected),
                int(ledger.events_duplicate),
                int(ledger.accepted),
                int(ledger.pending),
                int(ledger.leased),
                int(ledger.delivered),
                int(ledger.dead),
                int(ledger.discarded),
                int(ledger.delivered_pruned),
                int(ledger.dead_pruned),
                int(ledger.discarded_pruned),
                self.next_event_id,
                self.next_delivery_id,
                self.next_attempt_id,
                statistics,
            ],
        )?;
        Ok(())
    }
}
