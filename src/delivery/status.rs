//! What others may know of the dispatcher's work: gauges, circuits, windows that run out, statistics.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Dispatcher, Shared};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::store::{LeasedDelivery, StatisticsRow};

/// A delivery is near its end when less than this part of its window is left: half an hour of four.
const CLOSING_PART: u32 = 8;

/// Mappings that were found to have deliveries near the end of their window, with the earliest end.
#[derive(Debug, Default)]
pub(super) struct Closing(Mutex<HashMap<MappingId, Timestamp>>);

impl Closing {
    fn note(&self, mapping_id: MappingId, deadline_at: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(mapping_id).or_insert(deadline_at);
        *known = (*known).min(deadline_at);
    }

    fn take(&self) -> Vec<(MappingId, Timestamp)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

impl Dispatcher {
    /// The mappings whose circuit is open, each with the time it opened.
    #[must_use]
    pub fn open_circuits(&self) -> Vec<(MappingId, Timestamp)> {
        let gates = self.shared.gates();
        gates.by_destination.values().flat_map(|gate| gate.open_circuits()).collect()
    }

    /// Mappings with deliveries that came near the end of their window since the last call, each with
    /// the earliest end.
    #[must_use]
    pub fn take_expiring_windows(&self) -> Vec<(MappingId, Timestamp)> {
        self.shared.closing.take()
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        self.shared.observe();
    }

    /// The minutes of statistics that are not stored yet.
    #[must_use]
    pub fn unstored_statistics(&self) -> Vec<StatisticsRow> {
        self.shared.minutes.gathered()
    }

    /// These are stored.
    pub fn subtract_statistics(&self, stored: &[StatisticsRow]) {
        self.shared.minutes.forget(stored);
    }

    /// Counts up with every commit of attempts: whoever waits for one can watch it.
    #[must_use]
    pub fn recorded(&self) -> watch::Receiver<u64> {
        self.shared.recorded.subscribe()
    }
}

impl Shared {
    /// Deliveries are near the end of their window, tried or not.
    pub(super) fn note_closing(&self, claimed: &[LeasedDelivery], now: Timestamp) {
        let routes = self.parts.routes.current();
        for delivery in claimed {
            let Some(route) = routes.mapping(delivery.mapping_id) else { continue };
            if delivery.deadline_at.since(now) < route.settings.window() / CLOSING_PART {
                self.closing.note(delivery.mapping_id, delivery.deadline_at);
            }
        }
    }

    fn observe(&self) {
        let now = self.parts.clock.now();
        let gates = self.gates();
        let open: usize = gates.by_destination.values().map(|it| it.open_circuits().len()).sum();
        let oldest = gates.by_destination.values().filter_map(|it| it.oldest_due()).min();
        let age = oldest.map_or(Duration::ZERO, |at| now.since(at));
        let metrics = &self.parts.metrics;
        metrics.circuits_open.set(i64::try_from(open).unwrap_or(i64::MAX));
        metrics.oldest_due_seconds.set(age.as_secs_f64());
        let routes = self.parts.routes.current();
        let held = routes.mappings().filter(|it| it.enabled && it.held);
        let held: HashSet<_> = held.map(|it| it.destination_id).collect();
        metrics.destinations_held.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
        metrics.in_flight.set(i64::from(self.in_flight.load(Ordering::Relaxed)));
    }
}
