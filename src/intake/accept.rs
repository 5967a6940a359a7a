//! Accepts a request: one commit writes its events and deliveries; leased deliveries are dispatched into
//! their reserved slots. It runs to completion even if the sender disconnects: after a commit this node
//! holds the leases.

use std::sync::Arc;

use super::outbox::OutboxWrite;
use super::response::IntakeError;
use super::slots::ReservedSlots;
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::live::{Feed, LiveEvent};
use crate::routing::SourceRoute;
use crate::store::{Accepted, LeasedDelivery, NewDelivery, NewEvent, Outbox, StoreError};

/// How many messages of a request were stored and how many were duplicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchCounts {
    pub(super) stored: usize,
    pub(super) duplicates: usize,
}

/// Commits events and deliveries, then dispatches the leased deliveries.
pub(super) async fn accept(
    write: OutboxWrite,
    mut slots: ReservedSlots,
    store: &dyn Outbox,
    live: &Feed<LiveEvent>,
) -> Result<BatchCounts, IntakeError> {
    let committed = Committed::of(&write);
    let accepted = store.accept(write.events).await?;
    if accepted.len() != committed.events.len() {
        return Err(IntakeError::Unavailable(Some(StoreError::Foreign {
            what: format!("{} results for {} events", accepted.len(), committed.events.len()),
        })));
    }
    let effects = committed.effects(&accepted);
    slots.dispatch(effects.leased);
    if !effects.due.is_empty() {
        slots.notify_due(&effects.due);
    }
    if live.has_subscribers() {
        committed.publish(&accepted, live);
    }
    Ok(effects.tally)
}

/// The part of a write that is needed after the commit.
struct Committed {
    source: Arc<SourceRoute>,
    received_at: Timestamp,
    /// Each event with its number of deliveries.
    events: Vec<(Arc<Event>, usize)>,
    /// The deliveries of all events, in order.
    deliveries: Vec<NewDelivery>,
}

/// The effects of a commit.
#[derive(Default)]
struct Effects {
    tally: BatchCounts,
    /// To be dispatched.
    leased: Vec<LeasedDelivery>,
    /// Mappings with pending deliveries.
    due: Vec<MappingId>,
}

impl Committed {
    fn of(write: &OutboxWrite) -> Self {
        let count = |new: &NewEvent| (Arc::clone(&new.event), new.deliveries.len());
        Self {
            source: Arc::clone(&write.source),
            received_at: write.received_at.wall,
            events: write.events.iter().map(count).collect(),
            deliveries: write
                .events
                .iter()
                .flat_map(|new| new.deliveries.iter().copied())
                .collect(),
        }
    }

    /// Publishes the stored events to the live feed.
    fn publish(&self, accepted: &[Accepted], live: &Feed<LiveEvent>) {
        let source: Arc<str> = self.source.name.as_str().into();
        for ((event, _), accepted) in self.events.iter().zip(accepted) {
            if let Accepted::Stored { event_id, .. } = accepted {
                let (source, event) = (Arc::clone(&source), Arc::clone(event));
                live.publish(LiveEvent { id: *event_id, source, event });
            }
        }
    }

    fn effects(&self, accepted: &[Accepted]) -> Effects {
        let mut effects = Effects::default();
        let mut rest = self.deliveries.as_slice();
        for ((event, count), accepted) in self.events.iter().zip(accepted) {
            let deliveries;
            (deliveries, rest) = rest.split_at(*count);
            match accepted {
                Accepted::Duplicate => effects.tally.duplicates += 1,
                Accepted::Stored { event_id, delivery_ids } => {
                    effects.tally.stored += 1;
                    for (id, delivery) in delivery_ids.iter().zip(deliveries) {
                        if let Some(lease) = delivery.lease {
                            effects.leased.push(LeasedDelivery {
                                id,
                                event_id: *event_id,
                                event: Arc::clone(event),
                                mapping_id: delivery.mapping_id,
                                token: 1,
                                tried: 0,
                                accepted_at: self.received_at,
                                deadline_at: delivery.deadline_at,
                                lease_expires_at: lease.expires_at,
                            });
                        } else {
                            effects.due.push(delivery.mapping_id);
                        }
                    }
                }
            }
        }
        effects
    }
}
