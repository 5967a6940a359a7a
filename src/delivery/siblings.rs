//! Where one success is enough (delivery policy `any`): a delivery that waited here while another of
//! its event was delivered is not sent any more. What is under way already is not called back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Shared;
use crate::domain::delivery::State;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::id::{DeliveryId, DestinationId, EventId};
use crate::domain::retry::Next;
use crate::routing::MappingRoute;
use crate::store::{LeasedDelivery, Record};

/// Successes that are not recorded yet, each by the delivery that had it; the store knows the others.
#[derive(Debug, Default)]
pub(super) struct Successes(Mutex<HashMap<DeliveryId, (EventId, DestinationId)>>);

impl Successes {
    fn entries(&self) -> MutexGuard<'_, HashMap<DeliveryId, (EventId, DestinationId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets those of these records: they are in the store, or were late and count for nothing.
    pub(super) fn recorded(&self, records: &[Record]) {
        let counts = |it: &&Record| it.policy == DeliveryPolicy::Any && it.next == Next::Delivered;
        for record in records.iter().filter(counts) {
            self.entries().remove(&record.delivery_id);
        }
    }
}

impl Shared {
    /// Notes that the delivery's receiver took it, ahead of its record.
    pub(super) fn note_success(&self, route: &MappingRoute, delivery: &LeasedDelivery) {
        if route.settings.policy == DeliveryPolicy::Any {
            let event = (delivery.event_id, route.destination_id);
            self.successes.entries().insert(delivery.id, event);
        }
    }

    /// Whether another's success has settled the delivery. A store that does not answer is no reason
    /// not to send: then the receiver gets what it need not have got.
    pub(super) async fn is_settled(&self, route: &MappingRoute, delivery: &LeasedDelivery) -> bool {
        if route.settings.policy == DeliveryPolicy::All {
            return false;
        }
        // Here before the store: a success is forgotten here only once it stands there.
        let event = (delivery.event_id, route.destination_id);
        if self.successes.entries().values().any(|it| *it == event) {
            return true;
        }
        match self.parts.store.delivery_state(delivery.id).await {
            Ok(state) => state == Some(State::Delivered),
            Err(error) => {
                tracing::warn!(%error, "whether one success was enough could not be read");
                false
            }
        }
    }
}
