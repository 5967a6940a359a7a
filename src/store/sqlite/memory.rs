//! What the writer knows without asking: counters for keys, the ledger, the de-duplication slots.
//! It is copied at the start of a transaction and put back when that fails, so that it never
//! disagrees with the file.

use rusqlite::params;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::dedup::Slots;
use super::direct::Held;
use super::row::{count, int};
use crate::store::Ledger;

/// The state of the file as of the last commit, plus the running transaction's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// The key of the next event.
    pub(super) next_event_id: i64,
    /// The key of the next delivery.
    pub(super) next_delivery_id: i64,
    /// The key of the next attempt.
    pub(super) next_attempt_id: i64,
    /// The totals.
    pub(super) ledger: Ledger,
    /// The de-duplication tables.
    pub(super) slots: Slots,
    /// The last event that retention's sweep looked at; a restart begins a new sweep.
    pub(super) pruned_to: i64,
}

impl Memory {
    /// Reads it from the file.
    pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "SELECT events_accepted, events_rejected, events_duplicate, accepted, pending, leased,
                delivered, dead, discarded, delivered_pruned, dead_pruned, discarded_pruned,
                max(next_event_id, (SELECT coalesce(max(id), 0) + 1 FROM events)),
                max(next_delivery_id, (SELECT coalesce(max(id), 0) + 1 FROM deliveries)),
                max(next_attempt_id, (SELECT coalesce(max(id), 0) + 1 FROM attempts))
             FROM ledger",
        )
        .fetch_one(&mut *conn)
        .await?;
        Ok(Self {
            next_event_id: row.try_get(12)?,
            next_delivery_id: row.try_get(13)?,
            next_attempt_id: row.try_get(14)?,
            ledger: read_ledger(&row)?,
            slots: Slots::load(conn).await?,
            pruned_to: 0,
        })
    }

    /// Writes counters and ledger into the running transaction.
    pub(super) fn write(&self, held: &Held<'_>) -> Result<(), sqlx::Error> {
        let ledger = &self.ledger;
        held.change(
            "UPDATE ledger SET events_accepted = ?, events_rejected = ?, events_duplicate = ?,
                accepted = ?, pending = ?, leased = ?, delivered = ?, dead = ?, discarded = ?,
                delivered_pruned = ?, dead_pruned = ?, discarded_pruned = ?,
                next_event_id = ?, next_delivery_id = ?, next_attempt_id = ?
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
            ],
        )?;
        Ok(())
    }
}

/// The ledger from a row that begins with its twelve columns.
pub(super) fn read_ledger(row: &sqlx::sqlite::SqliteRow) -> Result<Ledger, sqlx::Error> {
    let at = |index: usize| row.try_get::<i64, _>(index).map(count);
    Ok(Ledger {
        events_accepted: at(0)?,
        events_rejected: at(1)?,
        events_duplicate: at(2)?,
        accepted: at(3)?,
        pending: at(4)?,
        leased: at(5)?,
        delivered: at(6)?,
        dead: at(7)?,
        discarded: at(8)?,
        delivered_pruned: at(9)?,
        dead_pruned: at(10)?,
        discarded_pruned: at(11)?,
    })
}
