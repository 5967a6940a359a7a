//! Accepting: one commit writes everything, what was leased is handed over into the places reserved for
//! it. It runs to its end whether or not the sender still waits: the commit may have happened, and then
//! its leases are ours to try.

use std::sync::Arc;

use super::answer::Refusal;
use super::plan::Plan;
use super::slots::Reserved;
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, MappingId};
use crate::live::{Feed, LiveEvent};
use crate::routing::SourceRoute;
use crate::store::{Accepted, LeasedDelivery, NewDelivery, NewEvent, Store, StoreError};

/// What became of a request's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) stored: usize,
    pub(super) duplicates: usize,
}

/// Writes the plan and hands over what was leased by it.
pub(super) async fn accept(
    plan: Plan,
    mut reserved: Reserved,
    store: &dyn Store,
    live: &Feed<LiveEvent>,
) -> Result<Tally, Refusal> {
    let written = Written::of(&plan);
    let accepted = store.accept(plan.events).await?;
    if accepted.len() != written.events.len() {
        return Err(Refusal::Unavailable(Some(StoreError::Foreign {
            what: format!("{} answers to {} events", accepted.len(), written.events.len()),
        })));
    }
    let settled = written.settle(&accepted);
    reserved.hand_over(settled.leased);
    if !settled.due.is_empty() {
        reserved.dispatch.hint_due(&settled.due);
    }
    if live.has_subscribers() {
        written.publish(&accepted, live);
    }
    Ok(settled.tally)
}

/// What is needed of a plan after the store has taken its events: shared or copied.
struct Written {
    source: Arc<SourceRoute>,
    received_at: Timestamp,
    /// Each event with the number of its deliveries.
    events: Vec<(Arc<Event>, usize)>,
    /// The deliveries of all events, in order.
    deliveries: Vec<NewDelivery>,
}

/// What follows from a commit.
#[derive(Default)]
struct Settled {
    tally: Tally,
    /// To be tried at once.
    leased: Vec<LeasedDelivery>,
    /// Mappings that have pending deliveries now.
    due: Vec<MappingId>,
}

impl Written {
    fn of(plan: &Plan) -> Self {
        let count = |new: &NewEvent| (Arc::clone(&new.event), new.deliveries.len());
        Self {
            source: Arc::clone(&plan.source),
            received_at: plan.received_at,
            events: plan.events.iter().map(count).collect(),
            deliveries: plan.events.iter().flat_map(|new| new.deliveries.iter().copied()).collect(),
        }
    }

    /// Tells those who watch what was stored.
    fn publish(&self, accepted: &[Accepted], live: &Feed<LiveEvent>) {
        let source: Arc<str> = self.source.name.as_str().into();
        for ((event, _), accepted) in self.events.iter().zip(accepted) {
            if let Accepted::Stored { event_id, .. } = accepted {
                let (source, event) = (Arc::clone(&source), Arc::clone(event));
                live.publish(LiveEvent { id: *event_id, source, event });
            }
        }
    }

    fn settle(&self, accepted: &[Accepted]) -> Settled {
        let mut settled = Settled::default();
        let mut rest = self.deliveries.as_slice();
        for ((event, count), accepted) in self.events.iter().zip(accepted) {
            let deliveries;
            (deliveries, rest) = rest.split_at(*count);
            match *accepted {
                Accepted::Duplicate => settled.tally.duplicates += 1,
                Accepted::Stored { event_id, first_delivery_id } => {
                    settled.tally.stored += 1;
                    for (id, delivery) in (first_delivery_id.0..).zip(deliveries) {
                        if let Some(lease) = delivery.lease {
                            settled.leased.push(LeasedDelivery {
                                id: DeliveryId(id),
                                event_id,
                                event: Arc::clone(event),
                                mapping_id: delivery.mapping_id,
                                token: 1,
                                tried: 0,
                                accepted_at: self.received_at,
                                deadline_at: delivery.deadline_at,
                                lease_expires_at: lease.expires_at,
                            });
                        } else {
                            settled.due.push(delivery.mapping_id);
                        }
                    }
                }
            }
        }
        settled
    }
}
