//! Requests that are done once under a key: what they were, and how they were answered, for a day.

use std::time::Duration;

use super::failure::Failure;
use super::pipeline::{bytes, sealed};
use super::row::Columns;
use super::writer::{Step, Tx};
use crate::domain::clock::Timestamp;
use crate::store::{IdempotencyKey, IdempotencyState, SealedSecret};

/// How long a key stands for its request.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins a request, unless one under its key was begun before.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: [u8; 32],
    pub(super) process: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait::async_trait]
impl Step for Begin {
    type Answer = IdempotencyState;
    const CONTEXT: &'static str = "begin a request once";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<IdempotencyState, Failure> {
        sqlx::query("DELETE FROM repeats WHERE begun_at <= ?")
            .bind((self.now - KEPT).as_micros())
            .execute(&mut *tx.conn)
            .await?;
        let found = sqlx::query(
            "SELECT fingerprint, process, sealed_id, key_id, sealed, answered_at, NULL
             FROM repeats WHERE token_id = ? AND key = ?",
        )
        .bind(self.key.token_id.0)
        .bind(&self.key.key)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some(row) = found else {
            sqlx::query(
                "INSERT INTO repeats (token_id, key, fingerprint, process, begun_at)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(self.key.token_id.0)
            .bind(&self.key.key)
            .bind(&self.fingerprint[..])
            .bind(self.process.as_micros())
            .bind(self.now.as_micros())
            .execute(&mut *tx.conn)
            .await?;
            return Ok(IdempotencyState::New);
        };
        let mut from = Columns::from(&row, 0);
        let fingerprint: [u8; 32] = bytes(&mut from, "a request's fingerprint")?;
        let process = from.at()?;
        if fingerprint != self.fingerprint {
            return Ok(IdempotencyState::Mismatch);
        }
        if Columns::from(&row, 2).take::<Option<Vec<u8>>>()?.is_some() {
            return Ok(IdempotencyState::Completed(sealed(&mut from)?));
        }
        Ok(if process == self.process {
            IdempotencyState::InProgress
        } else {
            IdempotencyState::Interrupted
        })
    }
}

/// Keeps how a request was answered, or frees its key.
#[derive(Debug)]
pub(super) struct End {
    pub(super) key: IdempotencyKey,
    pub(super) answer: Option<SealedSecret>,
}

#[async_trait::async_trait]
impl Step for End {
    type Answer = ();
    const CONTEXT: &'static str = "end a request done once";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let query = match &self.answer {
            None => sqlx::query("DELETE FROM repeats WHERE token_id = ?1 AND key = ?2")
                .bind(self.key.token_id.0)
                .bind(&self.key.key),
            Some(answer) => sqlx::query(
                "UPDATE repeats SET sealed_id = ?3, key_id = ?4, sealed = ?5, answered_at = ?6
                 WHERE token_id = ?1 AND key = ?2",
            )
            .bind(self.key.token_id.0)
            .bind(&self.key.key)
            .bind(&answer.id[..])
            .bind(&answer.key_id)
            .bind(&answer.sealed)
            .bind(answer.created_at.as_micros()),
        };
        query.execute(&mut *tx.conn).await?;
        Ok(())
    }
}
