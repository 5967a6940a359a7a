//! The rotation of the three de-duplication tables: which of them takes keys, and when each stopped.

use std::time::Duration;

use rusqlite::params;

use super::super::writer::connection::Connection;
use crate::domain::service_time::ServiceTime;

/// How long one table takes keys.
const TURN: Duration = Duration::from_secs(12 * 3_600);
/// How long the last key of a table is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Where the rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// The table that the memtable is compacted into.
    pub(super) active: usize,
    /// Since when; none before the first rotation.
    started_at: Option<ServiceTime>,
    /// When each table last stopped taking keys.
    ended_at: [Option<ServiceTime>; 3],
    /// Which tables hold any key; an empty one is not looked up in.
    pub(crate) filled: [bool; 3],
    /// The first event after each table last stopped taking keys.
    after: [i64; 3],
    /// The keys of events from this one on are all kept.
    since: i64,
}

impl Rotation {
    /// Reads it from the file.
    pub(crate) fn load(sqlite: &Connection) -> rusqlite::Result<Self> {
        sqlite.one(
            "SELECT slot, started_at, ended_0, ended_1, ended_2,
                EXISTS (SELECT 1 FROM dedup_0), EXISTS (SELECT 1 FROM dedup_1),
                EXISTS (SELECT 1 FROM dedup_2), after_0, after_1, after_2, since
             FROM deduplication",
            &[],
            |row| {
                let at = |column| {
                    row.get(column).map(|at: Option<i64>| at.map(ServiceTime::from_micros))
                };
                Ok(Self {
                    active: usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                    started_at: at(1)?,
                    ended_at: [at(2)?, at(3)?, at(4)?],
                    filled: [row.get(5)?, row.get(6)?, row.get(7)?],
                    after: [row.get(8)?, row.get(9)?, row.get(10)?],
                    since: row.get(11)?,
                })
            },
        )
    }

    /// Writes it in the running transaction.
    pub(super) fn save(&self, sqlite: &Connection) -> rusqlite::Result<()> {
        sqlite.execute(
            "UPDATE deduplication
             SET slot = ?, started_at = ?, ended_0 = ?, ended_1 = ?, ended_2 = ?, after_0 = ?,
                 after_1 = ?, after_2 = ?, since = ?
             WHERE id = 1",
            params![
                i64::try_from(self.active).unwrap_or(0),
                self.started_at.map(ServiceTime::as_micros),
                self.ended_at[0].map(ServiceTime::as_micros),
                self.ended_at[1].map(ServiceTime::as_micros),
                self.ended_at[2].map(ServiceTime::as_micros),
                self.after[0],
                self.after[1],
                self.after[2],
                self.since,
            ],
        )?;
        Ok(())
    }

    /// Whether the next table is due to take keys, and all its own have expired.
    pub(super) fn is_due(&self, now: ServiceTime) -> bool {
        self.started_at.is_some_and(|at| at + TURN <= now)
            && self.ended_at[self.next()].is_none_or(|ended| ended + KEPT <= now)
    }

    /// Whether it has begun.
    pub(super) const fn has_started(&self) -> bool {
        self.started_at.is_some()
    }

    /// Begins it.
    pub(super) const fn start(&mut self, now: ServiceTime) {
        self.started_at = Some(now);
    }

    /// The table that takes keys next.
    pub(super) const fn next(&self) -> usize {
        (self.active + 1) % 3
    }

    /// Makes the next table the active one; it has been emptied. Events from `next_event_id` on come after.
    pub(super) const fn advance(&mut self, now: ServiceTime, next_event_id: i64) {
        let next = self.next();
        if self.filled[next] {
            self.since = self.after[next];
        }
        self.filled[next] = false;
        self.ended_at[self.active] = Some(now);
        self.after[self.active] = next_event_id;
        self.ended_at[next] = None;
        self.active = next;
        self.started_at = Some(now);
    }
}
