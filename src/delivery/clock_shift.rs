//! The clock's jumps: what is in hand is moved by them at once, what is stored as soon as the store takes
//! it, and until then nobody goes by what is stored.

use std::sync::atomic::Ordering;

use tokio::sync::{RwLock, RwLockReadGuard};

use super::Dispatcher;
use crate::store::StoreError;

/// The due times, deadlines and leases that are stored.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By how much they have yet to follow the clock, in microseconds. Whoever goes by them reads; a jump
    /// of the clock writes.
    behind: RwLock<i64>,
}

impl Schedule {
    /// The right to go by what is stored, for as long as this is kept. None while it has yet to follow the
    /// clock: nothing may be found due, overdue or expired then.
    pub(super) async fn go_by(&self) -> Option<RwLockReadGuard<'_, i64>> {
        Some(self.behind.read().await).filter(|behind| **behind == 0)
    }
}

impl Dispatcher {
    /// Looks whether the machine's clock has jumped, and moves what is in hand by the jump, in
    /// microseconds; returns it. What is stored follows by [`Self::shift_schedule`].
    pub async fn resync_clock(&self) -> Option<i64> {
        let shared = &self.shared;
        let mut behind = shared.schedule.behind.write().await;
        let micros = shared.parts.clock.resync()?;
        tracing::warn!(micros, "the clock jumped: due times and deadlines are moved with it");
        *behind += micros;
        shared.shifted.fetch_add(micros, Ordering::SeqCst);
        let gates: Vec<_> = shared.gates().by_destination.values().cloned().collect();
        for gate in gates {
            gate.shift(micros);
            shared.pump(&gate);
        }
        Some(micros)
    }

    /// Moves what is stored by the jumps of the clock that it has yet to follow.
    ///
    /// # Errors
    /// When the store does not take it: nothing is claimed until a later call has moved it.
    pub async fn shift_schedule(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut behind = shared.schedule.behind.write().await;
        if *behind != 0 {
            shared.parts.store.shift_schedule(*behind).await?;
            *behind = 0;
            shared.claim_wanted.notify_one();
        }
        Ok(())
    }
}
