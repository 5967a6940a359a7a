//! Accepts a request: one commit writes its events and deliveries; leased deliveries are dispatched into
//! their reserved slots. It runs to completion even if the sender disconnects: after a commit this node
//! holds the leases.

use std::sync::Arc;

use super::admitted::Admitted;
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
    slots: ReservedSlots,
    store: &dyn Outbox,
    live: &Feed<LiveEvent>,
) -> Result<BatchCounts, IntakeError> {
    let (events, pending) = Pending::of(write, slots);
    let accepted = if pending.is_counted() {
        store.accept_counted(events).await?
    } else {
        store.accept(events).await?
    };
    if accepted.len() != pending.len() {
        return Err(IntakeError::Unavailable(Some(StoreError::Foreign {
            what: format!("{} results for {} events", accepted.len(), pending.len()),
        })));
    }
    Ok(pending.settle(&accepted, live))
}

/// A write that waits for its commit. Dropped, it releases its slots and what it took of its source's quota.
pub(super) struct Pending {
    committed: Committed,
    admitted: Option<Admitted>,
    slots: ReservedSlots,
}

impl Pending {
    /// Splits a write into what the store gets and what is done after the commit.
    pub(super) fn of(write: OutboxWrite, slots: ReservedSlots) -> (Vec<NewEvent>, Self) {
        let committed = Committed::of(&write);
        (write.events, Self { committed, admitted: write.admitted, slots })
    }

    /// How many events it has.
    pub(super) const fn len(&self) -> usize {
        self.committed.events.len()
    }

    /// Whether its events count for a daily quota.
    pub(super) fn is_counted(&self) -> bool {
        self.admitted.as_ref().is_some_and(|it| it.is_counted)
    }

    /// Dispatches the leased deliveries of what was committed.
    pub(super) fn settle(self, accepted: &[Accepted], live: &Feed<LiveEvent>) -> BatchCounts {
        let Self { committed, admitted, mut slots } = self;
        let effects = committed.effects(accepted);
        if let Some(admitted) = admitted {
            admitted.settle(effects.tally.stored);
        }
        slots.dispatch(effects.leased);
        if !effects.due.is_empty() {
            slots.notify_due(&effects.due);
        }
        if live.is_recording() {
            committed.publish(accepted, live);
        }
        effects.tally
    }
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
        let of_stored = |((event, _), accepted): (&(Arc<Event>, usize), &Accepted)| match accepted {
            Accepted::Stored { event_id, .. } => {
                Some(LiveEvent::new(*event_id, Arc::clone(&source), event))
            }
            Accepted::Duplicate => None,
        };
        let events: Vec<_> = self.events.iter().zip(accepted).filter_map(of_stored).collect();
        live.publish(events);
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
