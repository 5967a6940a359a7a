//! Large changes of the pipeline: staged as data, decided in one small step, then applied part by part, so
//! that events never wait for more than a part. The pipeline is not read meanwhile; its version changes
//! with the last part. A decided change survives a crash: its parts are applied before the next read.

use std::sync::Arc;

use rusqlite::params;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::pipeline_change::apply_all;
use super::writer::queue::Queue;
use super::writer::step::{Step, Tx};
use crate::domain::auth::Act;
use crate::store::failure::Failure;
use crate::store::row::{from_json, to_json};
use crate::store::{PipelineChange, StoreError};

/// Changes that one step applies.
pub(super) const AT_ONCE: usize = 256;
/// Parts that one step stages.
const PARTS_AT_ONCE: usize = 16;

/// Admits readers and small changes beside each other, and a large change alone. True: a decided change
/// may not be applied whole.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<RwLock<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(true)))
    }
}

impl Gate {
    /// Waits for a large change, and finishes one that was interrupted.
    pub(super) async fn pass(
        &self,
        queue: &Queue,
    ) -> Result<OwnedRwLockReadGuard<bool>, StoreError> {
        loop {
            let passed = Arc::clone(&self.0).read_owned().await;
            if !*passed {
                return Ok(passed);
            }
            drop(passed);
            let mut is_unfinished = self.0.write().await;
            if *is_unfinished {
                finish(queue).await?;
                *is_unfinished = false;
            }
        }
    }

    /// Makes a large change. It runs to its end although its caller is gone.
    pub(super) async fn change(
        &self,
        queue: &Queue,
        expected_version: i64,
        changes: Vec<PipelineChange>,
        act: Act,
    ) -> Result<i64, StoreError> {
        let (gate, queue) = (Arc::clone(&self.0), queue.clone());
        let change = async move {
            let mut is_unfinished = gate.write().await;
            if *is_unfinished {
                finish(&queue).await?;
                *is_unfinished = false;
            }
            stage(&queue, changes).await?;
            let version = queue.step(Decide { expected_version, act }).await?;
            *is_unfinished = true;
            finish(&queue).await?;
            *is_unfinished = false;
            Ok(version)
        };
        tokio::spawn(change).await.unwrap_or(Err(StoreError::Closed))
    }
}

async fn stage(queue: &Queue, mut changes: Vec<PipelineChange>) -> Result<(), StoreError> {
    let is_rename = |change: &PipelineChange| {
        matches!(
            change,
            PipelineChange::RenameSource { .. }
                | PipelineChange::RenameDestination { .. }
                | PipelineChange::RenameMapping { .. }
        )
    };
    // Renames refer to the names before the change, so they stay together.
    let renames = changes.iter().take_while(|change| is_rename(change)).count();
    let mut parts = Vec::new();
    while !changes.is_empty() {
        let size = AT_ONCE.max(if parts.is_empty() { renames } else { 0 }).min(changes.len());
        let rest = changes.split_off(size);
        parts.push(std::mem::replace(&mut changes, rest));
    }
    let mut is_first = true;
    while !parts.is_empty() {
        let rest = parts.split_off(PARTS_AT_ONCE.min(parts.len()));
        let parts = std::mem::replace(&mut parts, rest);
        queue.step(Stage { parts, is_first: std::mem::take(&mut is_first) }).await?;
    }
    Ok(())
}

async fn finish(queue: &Queue) -> Result<(), StoreError> {
    while queue.step(Advance).await? {}
    Ok(())
}

/// Stages parts of a change.
#[derive(Debug)]
struct Stage {
    parts: Vec<Vec<PipelineChange>>,
    is_first: bool,
}

impl Step for Stage {
    type Answer = ();
    const CONTEXT: &'static str = "stage a change of the pipeline";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        if self.is_first {
            // What an earlier change left behind undecided.
            tx.execute("DELETE FROM staged_changes", &[])?;
        }
        for part in &self.parts {
            let part = to_json(part)?;
            tx.execute("INSERT INTO staged_changes (changes) VALUES (?)", params![part])?;
        }
        Ok(())
    }
}

/// Decides the staged change, if the pipeline still has this version; returns the one with it.
#[derive(Debug)]
struct Decide {
    expected_version: i64,
    act: Act,
}

impl Step for Decide {
    type Answer = i64;
    const CONTEXT: &'static str = "decide a change of the pipeline";

    fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let version: i64 = tx.sqlite.one("SELECT version FROM pipeline", &[], |row| row.get(0))?;
        if version != self.expected_version {
            return Err(StoreError::Conflict.into());
        }
        let act = to_json(&self.act)?;
        tx.execute(
            "INSERT INTO decided_change (id, version, act) VALUES (1, ?, ?)",
            params![version + 1, act],
        )?;
        Ok(version + 1)
    }
}

/// Applies the next part of the decided change; false when nothing is left.
#[derive(Debug)]
struct Advance;

impl Step for Advance {
    type Answer = bool;
    const CONTEXT: &'static str = "apply a part of a change of the pipeline";

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let decided: Option<(i64, String)> =
            tx.sqlite.first("SELECT version, act FROM decided_change", &[], |row| {
                Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?))
            })?;
        let Some((version, act)) = decided else { return Ok(false) };
        let act: Act = from_json("the actor of a change", &act)?;
        let part: Option<(i64, String)> = tx.sqlite.first(
            "SELECT part, changes FROM staged_changes ORDER BY part LIMIT 1",
            &[],
            |row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?)),
        )?;
        let Some((part, changes)) = part else {
            tx.execute("UPDATE pipeline SET version = ?", params![version])?;
            tx.execute("DELETE FROM decided_change", &[])?;
            return Ok(false);
        };
        let changes: Vec<PipelineChange> = from_json("a staged change", &changes)?;
        apply_all(tx, &changes, &act)?;
        tx.execute("DELETE FROM staged_changes WHERE part = ?", params![part])?;
        Ok(true)
    }
}
