//! De-duplication: which messageIds of which source were accepted in the last 24 hours. The newest
//! keys are in memory and in a log; what has gathered there is merged, in order, into one of three
//! tables that take turns of 12 hours, so that forgetting is emptying the oldest as a whole. It may
//! remember longer than it must, never shorter.

use std::time::Duration;

use rusqlite::params;
use smallvec::SmallVec;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::direct::{Held, Statement};
use super::failure::Failure;
use super::recent::{MERGE_AT_ONCE, Remembered};
use super::writer::{Step, Tx, Writing};
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::domain::id::SourceId;

/// How long one table takes new keys.
const TURN: Duration = Duration::from_secs(12 * 3_600);
/// How old a table's last key must be before the table is emptied.
const MEMORY: Duration = Duration::from_secs(24 * 3_600);

/// What stands for a message: the first 16 bytes of SHA-256(source, messageId).
pub(super) type Key = [u8; 16];

/// The key of a source's message.
pub(super) fn key(source_id: SourceId, message_id: &str) -> Key {
    let digest = sha256(&[&source_id.0.to_be_bytes(), message_id.as_bytes()]);
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// The table that keys are merged into.
    slot: usize,
    /// Since when; none before the first rotation.
    started_at: Option<Timestamp>,
    /// When each table last stopped taking keys.
    ended_at: [Option<Timestamp>; 3],
    /// Which tables hold any key; an empty one is not asked.
    pub(super) filled: [bool; 3],
    /// The first event that came after each table last stopped taking keys.
    after: [i64; 3],
    /// Of events from this on, every key is remembered.
    since: i64,
}

impl Slots {
    /// Reads them from the file.
    pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "SELECT slot, started_at, ended_0, ended_1, ended_2,
                EXISTS (SELECT 1 FROM dedup_0), EXISTS (SELECT 1 FROM dedup_1),
                EXISTS (SELECT 1 FROM dedup_2), after_0, after_1, after_2, since
             FROM deduplication",
        )
        .fetch_one(conn)
        .await?;
        let at = |index: usize| {
            row.try_get::<Option<i64>, _>(index).map(|at| at.map(Timestamp::from_micros))
        };
        Ok(Self {
            slot: usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0),
            started_at: at(1)?,
            ended_at: [at(2)?, at(3)?, at(4)?],
            filled: [row.try_get(5)?, row.try_get(6)?, row.try_get(7)?],
            after: [row.try_get(8)?, row.try_get(9)?, row.try_get(10)?],
            since: row.try_get(11)?,
        })
    }

    /// Whether it is the next table's turn, and all in that one may be forgotten.
    fn is_turn_over(&self, now: Timestamp) -> bool {
        let next = (self.slot + 1) % 3;
        self.started_at.is_some_and(|at| at + TURN <= now)
            && self.ended_at[next].is_none_or(|ended| ended + MEMORY <= now)
    }

    async fn save(&self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE deduplication
             SET slot = ?, started_at = ?, ended_0 = ?, ended_1 = ?, ended_2 = ?, after_0 = ?,
                 after_1 = ?, after_2 = ?, since = ?
             WHERE id = 1",
        )
        .bind(i64::try_from(self.slot).unwrap_or(0))
        .bind(self.started_at.map(Timestamp::as_micros))
        .bind(self.ended_at[0].map(Timestamp::as_micros))
        .bind(self.ended_at[1].map(Timestamp::as_micros))
        .bind(self.ended_at[2].map(Timestamp::as_micros))
        .bind(self.after[0])
        .bind(self.after[1])
        .bind(self.after[2])
        .bind(self.since)
        .execute(conn)
        .await
        .map(|_| ())
    }
}

const LOG: &str = "INSERT INTO dedup_log (id, keys) VALUES (?, ?)";
const FORGET_LOG: &str = "DELETE FROM dedup_log WHERE id <= ?";
const FIND: [&str; 3] = [
    "SELECT 1 FROM dedup_0 WHERE key = ?",
    "SELECT 1 FROM dedup_1 WHERE key = ?",
    "SELECT 1 FROM dedup_2 WHERE key = ?",
];
const MERGE: [&str; 3] = [
    "INSERT OR IGNORE INTO dedup_0 (key, event_id) VALUES (?, ?)",
    "INSERT OR IGNORE INTO dedup_1 (key, event_id) VALUES (?, ?)",
    "INSERT OR IGNORE INTO dedup_2 (key, event_id) VALUES (?, ?)",
];

/// Lets the messages of one transaction in, unless they were let in before.
pub(super) struct Admission<'a> {
    /// Of the tables that hold any key.
    find: SmallVec<[(usize, Statement<'a>); 3]>,
    log: SmallVec<[LogRow; 1]>,
}

/// A row of the log: the keys of events that follow each other under the id of the first of them.
struct LogRow {
    id: i64,
    keys: Vec<Key>,
}

impl LogRow {
    /// Whether this event comes next; where one was rejected in between, it does not.
    fn goes_on_with(&self, event_id: i64) -> bool {
        usize::try_from(event_id - self.id).is_ok_and(|at| at == self.keys.len())
    }
}

impl<'a> Admission<'a> {
    pub(super) fn new(writing: &Writing<'a>) -> Result<Self, sqlx::Error> {
        let filled = writing.memory.slots.filled;
        let find = (0..3).filter(|slot| filled[*slot]).map(|slot| {
            let find = writing.held.prepare(FIND[slot])?;
            Ok::<_, sqlx::Error>((slot, find))
        });
        Ok(Self { find: find.collect::<Result<_, _>>()?, log: SmallVec::new() })
    }

    /// Whether the message that is to be the next event is no duplicate; it is remembered then.
    pub(super) fn admits(
        &mut self,
        writing: &mut Writing<'_>,
        key: &Key,
    ) -> Result<bool, sqlx::Error> {
        if writing.recent.holds(key) {
            return Ok(false);
        }
        for (slot, find) in &mut self.find {
            if writing.filters.may_hold(*slot, key) && find.finds(params![key])? {
                return Ok(false);
            }
        }
        let event_id = writing.memory.next_event_id;
        if !self.log.last().is_some_and(|row| row.goes_on_with(event_id)) {
            self.log.push(LogRow { id: event_id, keys: Vec::new() });
        }
        if let Some(row) = self.log.last_mut() {
            row.keys.push(*key);
            writing.recent.add(row.id, Remembered { key: *key, event_id });
        }
        Ok(true)
    }

    /// Writes what was let in into the log.
    pub(super) fn log(self, held: &Held<'_>) -> Result<(), sqlx::Error> {
        for LogRow { id, keys } in &self.log {
            held.change(LOG, params![id, keys.as_flattened()])?;
        }
        Ok(())
    }
}

/// Takes the merge that is under way a step further. The last step empties the log of what is merged.
pub(super) fn merge(writing: &mut Writing<'_>) -> Result<(), sqlx::Error> {
    let Some(step) = writing.recent.next_merge(MERGE_AT_ONCE) else { return Ok(()) };
    let slot = writing.memory.slots.slot;
    let mut merge = writing.held.prepare(MERGE[slot])?;
    if !writing.memory.slots.filled[slot] {
        writing.filters.begin(slot);
    }
    for Remembered { key, event_id } in &step.keys {
        merge.change(params![key, event_id])?;
        writing.filters.add(slot, key);
    }
    if let Some(id) = step.ends_log_at {
        writing.held.change(FORGET_LOG, params![id])?;
    }
    writing.memory.slots.filled[slot] = true;
    writing.recent.merged(&step);
    Ok(())
}

/// Begins to merge all that is in memory when the turn is over, so that it can be forgotten with the
/// table; each transaction then takes it a step further. Gives the merge's end while it is under way.
#[derive(Debug)]
pub(super) struct Merge {
    /// The current time.
    pub(super) now: Timestamp,
    /// The merge's end; none to begin one.
    pub(super) until: Option<i64>,
}

#[async_trait::async_trait]
impl Step for Merge {
    type Answer = Option<i64>;
    const CONTEXT: &'static str = "merge the de-duplication keys";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<i64>, Failure> {
        if self.until.is_none() && tx.memory.slots.is_turn_over(self.now) {
            tx.recent.begin_merge();
        }
        let under_way = tx.recent.merges_until();
        Ok(under_way.filter(|_| self.until.is_none_or(|until| under_way == Some(until))))
    }
}

/// Gives the turn to the next table when it is time and all in that one may be forgotten.
#[derive(Debug)]
pub(super) struct Rotate {
    /// The current time.
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for Rotate {
    type Answer = ();
    const CONTEXT: &'static str = "rotate the de-duplication tables";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let mut slots = tx.memory.slots;
        if slots.started_at.is_none() {
            slots.started_at = Some(self.now);
            slots.save(tx.conn).await?;
            tx.memory.slots = slots;
            return Ok(());
        }
        if !slots.is_turn_over(self.now) {
            return Ok(());
        }
        let next = (slots.slot + 1) % 3;
        if slots.filled[next] {
            let empty = ["DELETE FROM dedup_0", "DELETE FROM dedup_1", "DELETE FROM dedup_2"][next];
            sqlx::query(empty).execute(&mut *tx.conn).await?;
            slots.since = slots.after[next];
        }
        slots.filled[next] = false;
        slots.ended_at[slots.slot] = Some(self.now);
        slots.after[slots.slot] = tx.memory.next_event_id;
        slots.ended_at[next] = None;
        slots.slot = next;
        slots.started_at = Some(self.now);
        slots.save(tx.conn).await?;
        tx.memory.slots = slots;
        Ok(())
    }
}

/// Moves the turns by a jump of the clock, so that a jump forward does not make it forget early.
pub(super) async fn shift(tx: &mut Tx<'_>, micros: i64) -> Result<(), sqlx::Error> {
    let mut slots = tx.memory.slots;
    slots.started_at = slots.started_at.map(|at| at.shifted(micros));
    slots.ended_at = slots.ended_at.map(|ended| ended.map(|at| at.shifted(micros)));
    slots.save(tx.conn).await?;
    tx.memory.slots = slots;
    Ok(())
}
