//! De-duplication: which messageIds of which source were accepted in the last 24 hours. Three
//! tables take turns of 12 hours, so that forgetting is emptying the oldest as a whole. It may
//! remember longer than it must, never shorter.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::failure::Failure;
use super::shape::Shaped;
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
    /// The table that takes new keys.
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

/// The statements on the three tables.
#[derive(Debug)]
pub(super) struct Statements {
    insert: [Shaped; 3],
    owners: [Shaped; 3],
    insert_together: [Padded; 3],
    find_together: [Padded; 3],
}

impl Statements {
    pub(super) fn new() -> Self {
        let table = |slot: usize| format!("dedup_{slot}");
        Self {
            insert: [0, 1, 2].map(|slot| {
                let before =
                    format!("INSERT OR IGNORE INTO {} (key, event_id) VALUES ", table(slot));
                Shaped::new(&before, 2, "")
            }),
            owners: [0, 1, 2].map(|slot| {
                let before =
                    format!("SELECT key, event_id FROM {} WHERE key IN (VALUES ", table(slot));
                Shaped::new(&before, 1, ")")
            }),
            insert_together: [0, 1, 2].map(|slot| {
                let into = format!("INSERT OR IGNORE INTO {} (key, event_id)", table(slot));
                Padded::insert(&into, 2)
            }),
            find_together: [0, 1, 2].map(|slot| {
                let before = format!("SELECT 1 FROM {} WHERE key IN (VALUES ", table(slot));
                Padded::new(&before, 1, ")")
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

fn bind_candidate(candidate: &Candidate, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    sqlx::Arguments::add(to, candidate.key.as_slice())?;
    sqlx::Arguments::add(to, candidate.event_id)
}

fn bind_candidate_key(candidate: &Candidate, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    sqlx::Arguments::add(to, candidate.key.as_slice())
}

/// Adds the candidates to a batch on the assumption that none is a duplicate. No two have the same
/// key.
pub(super) fn foresee(
    tx: &mut Tx<'_>,
    candidates: &[Candidate],
    batch: &mut Batch,
) -> Result<(), BoxDynError> {
    let slots = &mut tx.memory.slots;
    let statements = &tx.statements.dedup;
    for older in (0..3).filter(|slot| *slot != slots.slot && slots.filled[*slot]) {
        batch.find_none(&statements.find_together[older], candidates, bind_candidate_key)?;
    }
    slots.filled[slots.slot] |= !candidates.is_empty();
    batch.change(&statements.insert_together[slots.slot], candidates, bind_candidate)
}

/// Remembers the candidates; returns the event ids of those that are duplicates. No two
/// candidates have the same key.
pub(super) async fn remember(
    tx: &mut Tx<'_>,
    mut candidates: Vec<Candidate>,
) -> Result<HashSet<i64>, sqlx::Error> {
    let mut duplicates = HashSet::new();
    let slots = tx.memory.slots;
    for older in (0..3).filter(|slot| *slot != slots.slot && slots.filled[*slot]) {
        let known = owners(tx, older, &candidates).await?;
        if !known.is_empty() {
            let known: HashSet<Key> = known.into_iter().map(|(key, _)| key).collect();
            candidates.retain(|candidate| {
                let is_known = known.contains(&candidate.key);
                if is_known {
                    duplicates.insert(candidate.event_id);
                }
                !is_known
            });
        }
    }
    let insert = &tx.statements.dedup.insert[slots.slot];
    let inserted = insert.execute(tx.conn, &candidates, bind_candidate).await?;
    if usize::try_from(inserted).ok() != Some(candidates.len()) {
        let ours: HashSet<i64> = candidates.iter().map(|candidate| candidate.event_id).collect();
        let present = owners(tx, slots.slot, &candidates).await?;
        let let_in: HashSet<i64> = present
            .into_iter()
            .map(|(_, event_id)| event_id)
            .filter(|id| ours.contains(id))
            .collect();
        duplicates.extend(ours.difference(&let_in));
    }
    tx.memory.slots.filled[slots.slot] |= inserted > 0;
    Ok(duplicates)
}

/// Which of the candidates' keys a table holds, and for which event.
async fn owners(
    tx: &mut Tx<'_>,
    slot: usize,
    candidates: &[Candidate],
) -> Result<Vec<(Key, i64)>, sqlx::Error> {
    let statement = &tx.statements.dedup.owners[slot];
    let rows = statement.fetch(tx.conn, candidates, bind_candidate_key).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        // The CHECK on the column leaves no other length.
        if let Ok(key) = Key::try_from(row.try_get::<&[u8], _>(0)?) {
            found.push((key, row.try_get(1)?));
        }
    }
    Ok(found)
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
        let Some(started_at) = slots.started_at else {
            slots.started_at = Some(self.now);
            slots.save(tx.conn).await?;
            tx.memory.slots = slots;
            return Ok(());
        };
        let next = (slots.slot + 1) % 3;
        let is_forgettable = slots.ended_at[next].is_none_or(|ended| ended + MEMORY <= self.now);
        if self.now < started_at + TURN || !is_forgettable {
            return Ok(());
        }
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
