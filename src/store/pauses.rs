//! Pauses of destinations and mappings, and what receivers asked to wait for. They are not part of the
//! pipeline's version.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::domain::pause::{PauseCause, PauseTarget};
use crate::domain::service_time::ServiceTime;

/// Changes pauses and waits; [`super::PipelineStore::pipeline`] reads them. Each change is idempotent: one that
/// changes nothing leaves no audit entry.
#[async_trait]
pub trait Pauses: Send + Sync + 'static {
    /// Pauses a destination or a mapping; false when it is paused already. [`StoreError::Conflict`] when it
    /// was removed.
    async fn pause(
        &self,
        target: PauseTarget,
        cause: PauseCause,
        act: Act,
    ) -> Result<bool, StoreError>;

    /// Ends a pause: what was held gets a fresh window and, with a rate, drains at it. Also changes or ends
    /// the rate of a drain. False when there is nothing to change. [`StoreError::Conflict`] when the target
    /// was removed.
    async fn resume(
        &self,
        target: PauseTarget,
        per_second: Option<u32>,
        act: Act,
    ) -> Result<bool, StoreError>;

    /// Ends the drain that began at `resumed_at`, as all that was held has been sent.
    async fn end_drain(
        &self,
        target: PauseTarget,
        resumed_at: ServiceTime,
    ) -> Result<(), StoreError>;

    /// How many deliveries of each mapping are pending, counted up to a limit for each; mappings with none are
    /// left out.
    async fn pending(
        &self,
        mappings: Vec<MappingId>,
        at_most: u32,
    ) -> Result<BTreeMap<MappingId, u64>, StoreError>;

    /// Stores until when the receivers of these mappings asked for no request; none: they ask no longer.
    async fn put_receiver_waits(
        &self,
        mappings: Vec<MappingId>,
        until: Option<ServiceTime>,
    ) -> Result<(), StoreError>;
}
