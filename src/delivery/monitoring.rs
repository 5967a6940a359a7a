//! What the dispatcher reports: gauges, open circuits, expiring windows, commits.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::dispatcher::Dispatcher;
use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;

impl Dispatcher {
    /// The mappings whose circuit is open, each with the time it opened.
    #[must_use]
    pub fn open_circuits(&self) -> Vec<(MappingId, ServiceTime)> {
        self.context.limiters().iter().flat_map(|limiter| limiter.open_circuits()).collect()
    }

    /// The mappings with deliveries whose window was found to be expiring since the last call, each with
    /// the earliest deadline.
    #[must_use]
    pub fn take_expiring_windows(&self) -> Vec<(MappingId, ServiceTime)> {
        self.context.expiring_windows.take()
    }

    /// A counter of the commits of attempts, to wait for the next one.
    #[must_use]
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.context.recorded.subscribe()
    }

    /// Updates the gauges.
    pub fn observe(&self) {
        let parts = &self.context.parts;
        let now = parts.clock.service_now();
        let limiters = self.context.limiters();
        let open: usize = limiters.iter().map(|it| it.open_circuits().len()).sum();
        let oldest = limiters.iter().filter_map(|it| it.oldest_due()).min();
        let age = oldest.map_or(Duration::ZERO, |at| now.since(at));
        let metrics = &parts.metrics;
        metrics.circuits_open.set(i64::try_from(open).unwrap_or(i64::MAX));
        metrics.oldest_due_seconds.set(age.as_secs_f64());
        let routes = parts.routes.current();
        let count = |found: usize| i64::try_from(found).unwrap_or(i64::MAX);
        metrics
            .mappings_paused
            .set(count(routes.mappings().filter(|it| it.paused.is_some()).count()));
        metrics.mappings_waiting.set(count(self.receiver_waits().len()));
        metrics
            .mappings_faulty
            .set(count(routes.mappings().filter(|it| it.fault.is_some()).count()));
        let held = routes.mappings().filter(|it| it.enabled && it.held && it.fault.is_none());
        let held: HashSet<_> = held.map(|it| it.destination_id).collect();
        metrics.destinations_held.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
        let waiting: usize = limiters.iter().map(|it| it.waits_for_worker()).sum();
        let usage = parts.functions.usage();
        metrics.function_workers.set(i64::from(usage.workers));
        metrics.function_workers_busy.set(i64::try_from(usage.busy).unwrap_or(i64::MAX));
        metrics.function_deliveries_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        metrics.in_flight.set(i64::from(self.context.in_flight.load(Ordering::Relaxed)));
    }
}
