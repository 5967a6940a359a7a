//! The outbox write of a request: its events, the deliveries that routing yields, the destinations that
//! `integrations` excludes, and the deliveries that are committed as leased to this node.

use std::sync::Arc;

use bytes::Bytes;

use super::admitted::Admitted;
use super::dispatch::Dispatch;
use super::message::ParsedMessage;
use super::slots::ReservedSlots;
use crate::domain::clock::Moment;
use crate::domain::document;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::integrations::Integrations;
use crate::domain::service_time::ServiceTime;
use crate::json::Value;
use crate::routing::{DestinationRoute, MappingRoute, SourceRoute};
use crate::store::{Lease, NewDelivery, NewEvent, Skip};

/// Estimated memory of an event without body and document, and of a delivery.
const EVENT_BYTES: usize = 512;
const DELIVERY_BYTES: usize = 128;

/// The events of one request with their deliveries.
#[derive(Debug)]
pub(super) struct OutboxWrite {
    pub(super) source: Arc<SourceRoute>,
    pub(super) received_at: Moment,
    pub(super) events: Vec<NewEvent>,
    /// The mappings that get deliveries.
    mappings: Vec<MappingDeliveries>,
    /// The index in `mappings` of each delivery, in the order of events and their deliveries.
    mapping_of: Vec<usize>,
    /// Memory in addition to the request's body.
    pub(super) added_bytes: usize,
    /// The events in their source's limits; none for the service's own.
    pub(super) admitted: Option<Admitted>,
}

/// The deliveries of one mapping in a request.
#[derive(Debug)]
struct MappingDeliveries {
    mapping_id: MappingId,
    destination_id: DestinationId,
    deadline_at: ServiceTime,
    lease_ends_at: ServiceTime,
    /// The number of deliveries.
    count: u32,
}

impl OutboxWrite {
    /// An empty write with capacity for this many events.
    pub(super) fn new(source: Arc<SourceRoute>, received_at: Moment, events: usize) -> Self {
        Self {
            source,
            received_at,
            events: Vec::with_capacity(events),
            mappings: Vec::new(),
            mapping_of: Vec::with_capacity(events),
            added_bytes: 0,
            admitted: None,
        }
    }

    /// Adds events, routes those that were not rejected, and leases as many deliveries as the dispatcher
    /// has slots for.
    pub(super) fn fill<'a>(
        &mut self,
        messages: impl Iterator<Item = ParsedMessage<'a>>,
        dispatch: Arc<dyn Dispatch>,
    ) -> ReservedSlots {
        let documents: Vec<_> = messages.map(|parsed| self.add(parsed)).collect();
        let slots = ReservedSlots::reserve(
            dispatch,
            self.mappings.iter().map(|entry| (entry.mapping_id, entry.count)),
        );
        self.lease(&slots);
        self.print_documents(documents);
        slots
    }

    /// Adds an event and routes it, unless it was rejected; returns its document.
    fn add<'a>(&mut self, parsed: ParsedMessage<'a>) -> Option<Value<'a>> {
        let source = Arc::clone(&self.source);
        let ParsedMessage { event, document } = parsed;
        if let Some(rejection) = &event.rejection {
            tracing::debug!(source = source.name, rejection, "kept as rejected");
        }
        let mut deliveries = Vec::new();
        let mut skips = Vec::new();
        if let Some(document) = &document {
            let filter = Integrations::of(document);
            for (destination, mapping) in source.matching(document) {
                if !mapping.is_excluded(&filter) {
                    deliveries.push(self.deliver(destination, mapping));
                } else if skips.last().is_none_or(|it: &Skip| it.destination_id != destination.id) {
                    skips.push(Skip { destination_id: destination.id });
                }
            }
        }
        self.added_bytes += EVENT_BYTES
            + DELIVERY_BYTES * deliveries.len()
            + event.envelope.as_ref().map_or(0, String::len);
        self.events.push(NewEvent { event: Arc::new(event), deliveries, skips });
        document
    }

    fn deliver(&mut self, destination: &DestinationRoute, mapping: &MappingRoute) -> NewDelivery {
        let known = self.mappings.iter().position(|entry| entry.mapping_id == mapping.id);
        let index = known.unwrap_or_else(|| {
            self.mappings.push(MappingDeliveries {
                mapping_id: mapping.id,
                destination_id: destination.id,
                deadline_at: self.received_at.service + destination.settings.window(),
                lease_ends_at: self.received_at.service + mapping.lease(),
                count: 0,
            });
            self.mappings.len() - 1
        });
        self.mapping_of.push(index);
        let entry = &mut self.mappings[index];
        entry.count += 1;
        NewDelivery {
            mapping_id: entry.mapping_id,
            destination_id: entry.destination_id,
            deadline_at: entry.deadline_at,
            lease: None,
        }
    }

    /// Leases the first deliveries of each mapping, one per slot.
    fn lease(&mut self, slots: &ReservedSlots) {
        let node_id = slots.node_id();
        let mut left = slots.counts();
        let deliveries = self.events.iter_mut().flat_map(|event| &mut event.deliveries);
        for (delivery, entry) in deliveries.zip(&self.mapping_of) {
            if left[*entry] > 0 {
                left[*entry] -= 1;
                let expires_at = self.mappings[*entry].lease_ends_at;
                delivery.lease = Some(Lease { node_id, expires_at });
            }
        }
    }

    /// Serializes the documents of events with a leased delivery while they are parsed. Other events are
    /// read from the store when they are claimed, and use no memory until then.
    fn print_documents(&mut self, documents: Vec<Option<Value<'_>>>) {
        for (new, document) in self.events.iter().zip(documents) {
            let is_leased = new.deliveries.iter().any(|it| it.lease.is_some());
            if let Some(document) = document.filter(|_| is_leased) {
                let bytes = Bytes::from(document::print(&document, new.event.body.len()));
                self.added_bytes += bytes.len();
                new.event.document.set(bytes);
            }
        }
    }
}
