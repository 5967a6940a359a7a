//! Retention: removes what is past it, a bounded step at a time. The schedule runs it, and an operator can.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::clock_steps::ClockSteps;
use crate::domain::clock::Clock;
use crate::store::{Maintenance, PruneRequest, Pruned, StoreError};

/// Events pruned in one write step.
const BATCH: u32 = 64;
/// How long one call may take.
const MAX_TIME: Duration = Duration::from_secs(10);

/// How long records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Settled deliveries and their events.
    pub settled: Duration,
    /// Dead letters.
    pub dead: Duration,
}

/// Removes what is past its retention; cheap to clone.
#[derive(Clone)]
pub struct Retention {
    /// The store's maintenance steps.
    pub store: Arc<dyn Maintenance>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Its steps: after a large one nothing is removed.
    pub clock_steps: ClockSteps,
    /// How long records are kept.
    pub ages: Ages,
    /// Cancelled at shutdown.
    pub stopping: CancellationToken,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The ages of records are in doubt.
    #[error("the clock stepped within the last hour: nothing is pruned until its time is certain")]
    ClockStepped,
    /// The store failed; earlier steps stay.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Retention {
    /// Removes everything past its retention.
    ///
    /// # Errors
    /// When the store fails; earlier steps stay.
    pub(super) async fn run(&self) -> Result<(), StoreError> {
        if !self.clock_steps.may_delete() {
            tracing::warn!("nothing is pruned within an hour of a large step of the clock");
            return Ok(());
        }
        let mut events = 0;
        while !self.stopping.is_cancelled() {
            let pruned = self.step(self.ages, BATCH).await?;
            events += pruned.events;
            if !pruned.more {
                break;
            }
        }
        if events > 0 {
            tracing::info!(events, "pruned events past their retention");
        }
        Ok(())
    }

    /// Removes at most `limit` events older than `ages`, within a bounded time; says whether more may be left.
    ///
    /// # Errors
    /// When the ages of records are in doubt, or the store fails; earlier steps stay.
    pub async fn prune(&self, ages: Ages, limit: u32) -> Result<Pruned, RetentionError> {
        if !self.clock_steps.may_delete() {
            return Err(RetentionError::ClockStepped);
        }
        let began_at = self.clock.service_now();
        let mut removed = Pruned { more: true, ..Pruned::default() };
        // The sweep that the schedule shares may be anywhere: it is at its end twice after a whole round.
        let mut ends = 0;
        while ends < 2 {
            let left = u64::from(limit).saturating_sub(removed.events);
            let late = self.clock.service_now() >= began_at + MAX_TIME;
            if left == 0 || late || self.stopping.is_cancelled() {
                return Ok(removed);
            }
            let step = self.step(ages, u32::try_from(left).unwrap_or(BATCH).min(BATCH)).await?;
            removed.events += step.events;
            removed.deliveries += step.deliveries;
            removed.attempts += step.attempts;
            ends += u8::from(!step.more);
        }
        removed.more = false;
        Ok(removed)
    }

    async fn step(&self, ages: Ages, limit: u32) -> Result<Pruned, StoreError> {
        let now = self.clock.service_now();
        let (settled_before, dead_before) = (now - ages.settled, now - ages.dead);
        let pruned = self.store.prune(PruneRequest { settled_before, dead_before, limit }).await;
        // Deliveries have priority: between two steps the writer serves its queue.
        tokio::task::yield_now().await;
        pruned
    }
}
