//! `Idempotency-Key`s of the admin API, with the responses that are replayed for a day.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;

/// An `Idempotency-Key`, scoped to the token that sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The token.
    pub token_id: TokenId,
    /// The header's value.
    pub key: String,
}

/// What is stored under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyState {
    /// Nothing was: the key is taken now, and the caller executes the request.
    New,
    /// A request with another fingerprint.
    Mismatch,
    /// The same request, in progress.
    InProgress,
    /// The same request, in progress when its process ended.
    Interrupted,
    /// The same request, with its response.
    Completed(SealedSecret),
}

/// Stored idempotency keys.
#[async_trait]
pub trait IdempotencyKeys: Send + Sync + 'static {
    /// Takes the key for a request, unless it was taken within a day. `fingerprint` identifies the
    /// request, `process` the process that executes it. A request in progress is interrupted once its
    /// process has ended: where one process runs at a time, that is any other process.
    async fn begin_request(
        &self,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
        process: Timestamp,
        now: ServiceTime,
    ) -> Result<IdempotencyState, StoreError>;

    /// Stores the response of a request that was begun; none frees the key.
    async fn complete_request(
        &self,
        key: IdempotencyKey,
        response: Option<SealedSecret>,
    ) -> Result<(), StoreError>;
}
