//! Clock steps: times in memory are shifted at once, the stored schedule as soon as the store accepts
//! the shift. Until then nothing is claimed or expired.

use std::sync::atomic::Ordering;

use super::dispatcher::Dispatcher;
use super::scheduler;
use crate::store::StoreError;

impl Dispatcher {
    /// Checks the machine's clock for a step and shifts times in memory by it; returns the step in
    /// microseconds. [`Self::shift_schedule`] then shifts the stored schedule.
    pub async fn resync_clock(&self) -> Option<i64> {
        let context = &self.context;
        let mut pending_shift = context.schedule.pending_shift().await;
        let micros = context.parts.clock.resync()?;
        tracing::warn!(micros, "clock step: due times and deadlines are shifted by it");
        *pending_shift += micros;
        context.clock_offset.fetch_add(micros, Ordering::SeqCst);
        for limiter in context.limiters() {
            limiter.shift(micros);
            scheduler::start_requests(context, &limiter);
        }
        Some(micros)
    }

    /// Shifts the stored schedule by the clock steps that it has not followed yet.
    ///
    /// # Errors
    /// When the store fails: nothing is claimed until a later call has shifted it.
    pub async fn shift_schedule(&self) -> Result<(), StoreError> {
        let context = &self.context;
        let mut pending_shift = context.schedule.pending_shift().await;
        if *pending_shift != 0 {
            if let Some(schedule) = &context.parts.schedule {
                schedule.shift(*pending_shift).await?;
            }
            *pending_shift = 0;
            context.claim_wanted.notify_one();
        }
        Ok(())
    }
}
