//! Idempotent requests: the fingerprint and the response of each `Idempotency-Key`, for a day.

use std::time::Duration;

use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::{IdempotencyKey, IdempotencyState};
use async_trait::async_trait;

/// How long a key is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins a request, unless its key was used before.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: [u8; 32],
    pub(super) process: Timestamp,
    pub(super) now: ServiceTime,
}

#[async_trait]
impl Step for Begin {
    type Answer = IdempotencyState;
    const CONTEXT: &'static str = "begin an idempotent request";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<IdempotencyState, Failure> {
        tx.execute(
            "DELETE FROM repeats WHERE begun_at <= $1",
            params![(self.now - KEPT).as_micros()],
        )
        .await?;
        let taken = tx
            .execute(
                "INSERT INTO repeats (token_id, key, fingerprint, process, begun_at)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                params![
                    self.key.token_id.0,
                    self.key.key,
                    &self.fingerprint[..],
                    self.process.as_micros(),
                    self.now.as_micros(),
                ],
            )
            .await?;
        if taken == 1 {
            return Ok(IdempotencyState::New);
        }
        let found = tx
            .first(
                "SELECT fingerprint, process, sealed_id IS NOT NULL, sealed_id, key_id, sealed,
                    answered_at, NULL::bigint
                 FROM repeats WHERE token_id = $1 AND key = $2",
                params![self.key.token_id.0, self.key.key],
                |row| row::idempotency_state(row, &self.fingerprint, self.process),
            )
            .await?;
        // Freed at this moment: the next request takes it.
        Ok(found.unwrap_or(IdempotencyState::InProgress))
    }
}

/// Saves the response of a request, or frees its key.
#[derive(Debug)]
pub(super) struct End {
    pub(super) key: IdempotencyKey,
    pub(super) answer: Option<SealedSecret>,
}

#[async_trait]
impl Step for End {
    type Answer = ();
    const CONTEXT: &'static str = "end an idempotent request";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let key = &self.key;
        match &self.answer {
            None => {
                tx.execute(
                    "DELETE FROM repeats WHERE token_id = $1 AND key = $2",
                    params![key.token_id.0, key.key],
                )
                .await?
            }
            Some(answer) => {
                tx.execute(
                    "UPDATE repeats SET sealed_id = $3, key_id = $4, sealed = $5, answered_at = $6
                 WHERE token_id = $1 AND key = $2",
                    params![
                        key.token_id.0,
                        key.key,
                        &answer.id[..],
                        answer.key_id,
                        answer.sealed,
                        answer.created_at.as_micros(),
                    ],
                )
                .await?
            }
        };
        Ok(())
    }
}
