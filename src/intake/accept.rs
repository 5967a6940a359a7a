//! Accepting: room is reserved, one commit writes everything, what was leased is handed over. From
//! the reservation on it runs to its end whether or not the sender still waits: the commit may have
//! happened, and then its leases are ours to try.

use std::sync::Arc;

use super::answer::Refusal;
use super::dispatch::Dispatch;
use super::plan::Plan;
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, MappingId};
use crate::store::{Accepted, LeasedDelivery, NewDelivery, Store, StoreError};

/// What became of a request's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) stored: usize,
    pub(super) duplicates: usize,
}

/// Writes the plan and hands over what was leased by it.
pub(super) async fn accept(
    mut plan: Plan,
    store: &dyn Store,
    dispatch: Arc<dyn Dispatch>,
) -> Result<Tally, Refusal> {
    let mut reserved = Reserved::take(dispatch, &plan);
    plan.lease(&*reserved.dispatch, &reserved.granted());
    // The store takes the events; what is needed after the commit is shared or copied.
    let written: Vec<(Arc<Event>, Vec<NewDelivery>)> =
        plan.events.iter().map(|new| (Arc::clone(&new.event), new.deliveries.clone())).collect();
    let received_at = plan.received_at;
    let accepted = store.accept(plan.events).await?;
    if accepted.len() != written.len() {
        return Err(Refusal::Unavailable(Some(StoreError::Foreign {
            what: format!("{} answers to {} events", accepted.len(), written.len()),
        })));
    }
    let mut tally = Tally::default();
    let mut leased = Vec::new();
    let mut due = Vec::new();
    for ((event, deliveries), accepted) in written.iter().zip(accepted) {
        match accepted {
            Accepted::Duplicate => tally.duplicates += 1,
            Accepted::Stored { event_id, first_delivery_id } => {
                tally.stored += 1;
                for (id, delivery) in (first_delivery_id.0..).zip(deliveries) {
                    let in_hand = LeasedDelivery {
                        id: DeliveryId(id),
                        event_id,
                        event: Arc::clone(event),
                        mapping_id: delivery.mapping_id,
                        token: 1,
                        tried: 0,
                        accepted_at: received_at,
                        deadline_at: delivery.deadline_at,
                        lease_expires_at: Timestamp::default(),
                    };
                    match delivery.lease {
                        Some(lease) => {
                            leased.push(LeasedDelivery {
                                lease_expires_at: lease.expires_at,
                                ..in_hand
                            });
                        }
                        None if due.contains(&delivery.mapping_id) => {}
                        None => due.push(delivery.mapping_id),
                    }
                }
            }
        }
    }
    reserved.hand_over(leased);
    if !due.is_empty() {
        reserved.dispatch.hint_due(&due);
    }
    Ok(tally)
}

/// Places at the dispatcher. Those that were not used go back when it is dropped, whatever happened.
struct Reserved {
    dispatch: Arc<dyn Dispatch>,
    /// By the plan's lanes.
    places: Vec<(MappingId, u32)>,
}

impl Reserved {
    fn take(dispatch: Arc<dyn Dispatch>, plan: &Plan) -> Self {
        let take = |wanted: &super::plan::Lane| {
            let granted = dispatch.reserve(wanted.mapping_id, wanted.wanted);
            (wanted.mapping_id, granted.min(wanted.wanted))
        };
        let places = plan.lanes.iter().map(take).collect();
        Self { dispatch, places }
    }

    fn granted(&self) -> Vec<u32> {
        self.places.iter().map(|(_, granted)| *granted).collect()
    }

    fn hand_over(&mut self, leased: Vec<LeasedDelivery>) {
        for delivery in &leased {
            let place = self.places.iter_mut().find(|(id, _)| *id == delivery.mapping_id);
            if let Some((_, unused)) = place {
                *unused = unused.saturating_sub(1);
            }
        }
        if !leased.is_empty() {
            self.dispatch.hand_over(leased);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (mapping_id, unused) in &self.places {
            if *unused > 0 {
                self.dispatch.give_back(*mapping_id, *unused);
            }
        }
    }
}
