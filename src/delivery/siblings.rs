//! Sibling deliveries under policy `any`: successes that are not recorded yet, so that a queued delivery
//! is not sent after a sibling was delivered. Requests in flight are not cancelled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::delivery::State;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::id::{DeliveryId, DestinationId, EventId};
use crate::domain::retry::Next;
use crate::routing::MappingRoute;
use crate::store::{DeliveryQueue, LeasedDelivery, Record};

/// Successes that the store does not have yet, by delivery.
#[derive(Debug, Default)]
pub(super) struct UnrecordedSuccesses(Mutex<HashMap<DeliveryId, (EventId, DestinationId)>>);

impl UnrecordedSuccesses {
    fn entries(&self) -> MutexGuard<'_, HashMap<DeliveryId, (EventId, DestinationId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a delivered attempt ahead of its record.
    pub(super) fn insert(&self, route: &MappingRoute, delivery: &LeasedDelivery) {
        if route.settings.policy == DeliveryPolicy::Any {
            self.entries().insert(delivery.id, (delivery.event_id, route.destination_id));
        }
    }

    /// Removes the successes of these records: the store has them, or their lease was lost.
    pub(super) fn remove_recorded(&self, records: &[Record]) {
        let counts = |it: &&Record| it.policy == DeliveryPolicy::Any && it.next == Next::Delivered;
        for record in records.iter().filter(counts) {
            self.entries().remove(&record.delivery_id);
        }
    }

    /// Whether a sibling's success has settled the delivery. When the store does not answer, the
    /// delivery is sent: a duplicate is better than a loss.
    pub(super) async fn settled(
        &self,
        store: &dyn DeliveryQueue,
        route: &MappingRoute,
        delivery: &LeasedDelivery,
    ) -> bool {
        if route.settings.policy == DeliveryPolicy::All {
            return false;
        }
        // Memory before the store: a success leaves memory only once the store has it.
        let event = (delivery.event_id, route.destination_id);
        if self.entries().values().any(|it| *it == event) {
            return true;
        }
        match store.delivery_state(delivery.id).await {
            Ok(state) => state == Some(State::Delivered),
            Err(error) => {
                tracing::warn!(%error, "a sibling delivery's state could not be read");
                false
            }
        }
    }
}
