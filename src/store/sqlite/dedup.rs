//! De-duplication: which messageIds of which source were accepted in the last 24 hours. The newest
//! keys are in memory and in a log; what has gathered there is merged, in order, into one of three
//! tables that take turns of 12 hours, so that forgetting is emptying the oldest as a whole. It may
//! remember longer than it must, never shorter.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Row};

use super::failure::Failure;
use super::recent::MERGE_AT_ONCE;
use super::together::{Batch, Padded};
use super::writer::{Step, Tx};
use crate::clock::Timestamp;
use crate::digest::sha256;
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
    filled: [bool; 3],
}

impl Slots {
    /// Reads them from the file.
    pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "SELECT slot, started_at, ended_0, ended_1, ended_2,
                EXISTS (SELECT 1 FROM dedup_0), EXISTS (SELECT 1 FROM dedup_1),
                EXISTS (SELECT 1 FROM dedup_2)
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
             SET slot = ?, started_at = ?, ended_0 = ?, ended_1 = ?, ended_2 = ? WHERE id = 1",
        )
        .bind(i64::try_from(self.slot).unwrap_or(0))
        .bind(self.started_at.map(Timestamp::as_micros))
        .bind(self.ended_at[0].map(Timestamp::as_micros))
        .bind(self.ended_at[1].map(Timestamp::as_micros))
        .bind(self.ended_at[2].map(Timestamp::as_micros))
        .execute(conn)
        .await
        .map(|_| ())
    }
}

/// The statements on the log and the three tables. Many keys go over as one value, back to back.
#[derive(Debug)]
pub(super) struct Statements {
    log: Padded,
    find: [Padded; 3],
    known: [String; 3],
    merge: [String; 3],
}

/// Gives the keys of one value, which stands between these two.
const EACH: &str = "WITH RECURSIVE given (keys) AS (VALUES ";
const OF_THEM: &str = "), place (at) AS (SELECT 1 UNION ALL
        SELECT at + 16 FROM place, given WHERE at + 16 < length(keys)),
    each (key) AS (SELECT substr(keys, at, 16) FROM given, place)";

impl Statements {
    pub(super) fn new() -> Self {
        let slots = [0, 1, 2];
        let among = |slot| format!("FROM each CROSS JOIN dedup_{slot} AS d WHERE d.key = each.key");
        Self {
            log: Padded::insert("INSERT OR FAIL INTO dedup_log (id, keys)", 2),
            find: slots.map(|slot| {
                Padded::new(EACH, 1, format!("{OF_THEM} SELECT 1 {} LIMIT 1", among(slot)))
            }),
            known: slots.map(|slot| format!("{EACH}(?){OF_THEM} SELECT d.key {}", among(slot))),
            merge: slots.map(|slot| {
                format!(
                    "{EACH}(?){OF_THEM} INSERT OR IGNORE INTO dedup_{slot} SELECT key FROM each"
                )
            }),
        }
    }
}

/// A message that asks to be let in as the event `event_id`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// What stands for the message.
    pub(super) key: Key,
    /// The event it would become.
    pub(super) event_id: i64,
}

/// A row of the log: the keys of one transaction under the id of its first event.
struct LogRow {
    id: i64,
    keys: Vec<u8>,
}

fn log_row(candidates: &[Candidate]) -> Option<LogRow> {
    let id = candidates.first()?.event_id;
    Some(LogRow { id, keys: candidates.iter().flat_map(|candidate| candidate.key).collect() })
}

fn bind_log(row: &LogRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    sqlx::Arguments::add(to, row.id)?;
    sqlx::Arguments::add(to, row.keys.as_slice())
}

fn bind_keys(row: &LogRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    sqlx::Arguments::add(to, row.keys.as_slice())
}

/// Adds the candidates to a batch on the assumption that none is a duplicate. False when one is for
/// certain. No two have the same key.
pub(super) fn foresee(
    tx: &mut Tx<'_>,
    candidates: &[Candidate],
    batch: &mut Batch,
) -> Result<bool, BoxDynError> {
    if candidates.iter().any(|candidate| tx.recent.holds(&candidate.key)) {
        return Ok(false);
    }
    let Some(row) = log_row(candidates) else { return Ok(true) };
    let row = [row];
    let statements = &tx.statements.dedup;
    for slot in (0..3).filter(|slot| tx.memory.slots.filled[*slot]) {
        batch.find_none(&statements.find[slot], &row, bind_keys)?;
    }
    batch.change(&statements.log, &row, bind_log)?;
    tx.recent.add(row[0].id, candidates.iter().map(|candidate| candidate.key));
    Ok(true)
}

/// Remembers the candidates; returns the event ids of those that are duplicates. No two
/// candidates have the same key.
pub(super) async fn remember(
    tx: &mut Tx<'_>,
    mut candidates: Vec<Candidate>,
) -> Result<HashSet<i64>, sqlx::Error> {
    let mut known: HashSet<Key> = HashSet::new();
    if let Some(row) = log_row(&candidates) {
        for slot in (0..3).filter(|slot| tx.memory.slots.filled[*slot]) {
            let sql = AssertSqlSafe(tx.statements.dedup.known[slot].as_str());
            let rows = sqlx::query(sql).bind(&row.keys).fetch_all(&mut *tx.conn).await?;
            for row in rows {
                // The CHECK on the column leaves no other length.
                known.extend(Key::try_from(row.try_get::<&[u8], _>(0)?));
            }
        }
    }
    let mut duplicates = HashSet::new();
    candidates.retain(|candidate| {
        let is_new = !known.contains(&candidate.key) && !tx.recent.holds(&candidate.key);
        if !is_new {
            duplicates.insert(candidate.event_id);
        }
        is_new
    });
    if let Some(row) = log_row(&candidates) {
        sqlx::query("INSERT INTO dedup_log (id, keys) VALUES (?, ?)")
            .bind(row.id)
            .bind(row.keys)
            .execute(&mut *tx.conn)
            .await?;
        tx.recent.add(row.id, candidates.iter().map(|candidate| candidate.key));
    }
    Ok(duplicates)
}

/// Takes the merge that is under way a step further. The last step empties the log of what is merged.
pub(super) async fn merge(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let Some(step) = tx.recent.next_merge(MERGE_AT_ONCE) else { return Ok(()) };
    let slot = tx.memory.slots.slot;
    let sql = AssertSqlSafe(tx.statements.dedup.merge[slot].as_str());
    sqlx::query(sql).bind(&step.keys).execute(&mut *tx.conn).await?;
    if let Some(id) = step.ends_log_at {
        sqlx::query("DELETE FROM dedup_log WHERE id <= ?").bind(id).execute(&mut *tx.conn).await?;
    }
    tx.memory.slots.filled[slot] = true;
    tx.recent.merged(&step);
    Ok(())
}

/// Merges a step of all that is in memory when the turn is over, so that it can be forgotten with
/// the table. Gives the merge's end while it is under way.
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
        if under_way.is_none() || self.until.is_some_and(|until| under_way != Some(until)) {
            return Ok(None);
        }
        merge(tx).await?;
        Ok(under_way)
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
        }
        slots.filled[next] = false;
        slots.ended_at[slots.slot] = Some(self.now);
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
