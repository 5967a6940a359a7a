//! What one commit will write: which mappings each event goes to, which destinations its
//! `integrations` keep it from, and for how many of the deliveries the node takes the first attempt.

use std::sync::Arc;

use bytes::Bytes;

use super::dispatch::Dispatch;
use super::message::Read;
use super::slots::Reserved;
use crate::domain::clock::Timestamp;
use crate::domain::document;
use crate::domain::id::{DestinationId, MappingId};
use crate::json::{Object, Value};
use crate::routing::{DestinationRoute, MappingRoute, SourceRoute};
use crate::store::{Lease, NewDelivery, NewEvent, Skip};

/// About how many bytes an event takes beside its body and document, and each of its deliveries.
const EVENT_BYTES: usize = 512;
const DELIVERY_BYTES: usize = 128;

/// The events of one request with their deliveries.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Arc<SourceRoute>,
    pub(super) received_at: Timestamp,
    pub(super) events: Vec<NewEvent>,
    /// The mappings that get deliveries by it.
    pub(super) lanes: Vec<Lane>,
    /// The lane of each delivery, in the order of the events and of the deliveries in each.
    lane_of: Vec<usize>,
    /// Bytes that it holds beside the request's body.
    pub(super) added_bytes: usize,
}

/// One mapping's part of a request.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) mapping_id: MappingId,
    destination_id: DestinationId,
    deadline_at: Timestamp,
    lease_ends_at: Timestamp,
    /// How many deliveries it gets.
    pub(super) wanted: u32,
}

impl Plan {
    /// An empty plan with room for so many events.
    pub(super) fn new(source: Arc<SourceRoute>, received_at: Timestamp, events: usize) -> Self {
        Self {
            source,
            received_at,
            events: Vec::with_capacity(events),
            lanes: Vec::new(),
            lane_of: Vec::with_capacity(events),
            added_bytes: 0,
        }
    }

    /// Adds events and routes those that were not rejected, then leases what the dispatcher has room for.
    pub(super) fn fill<'a>(
        &mut self,
        messages: impl Iterator<Item = Read<'a>>,
        dispatch: Arc<dyn Dispatch>,
    ) -> Reserved {
        let documents: Vec<_> = messages.map(|read| self.add(read)).collect();
        let reserved = Reserved::take(dispatch, &self.lanes);
        self.lease(&reserved);
        self.print(documents);
        reserved
    }

    /// Adds an event and routes it, unless it was rejected; returns its document.
    fn add<'a>(&mut self, read: Read<'a>) -> Option<Value<'a>> {
        let source = Arc::clone(&self.source);
        let Read { event, document } = read;
        if let Some(rejection) = &event.rejection {
            tracing::debug!(source = source.name, rejection, "kept as rejected");
        }
        let mut deliveries = Vec::new();
        let mut skips = Vec::new();
        if let Some(document) = &document {
            let filter = Filter::of(document);
            for destination in source.destinations.iter().filter(|it| it.enabled) {
                let mut matching = destination
                    .mappings
                    .iter()
                    .filter(|mapping| mapping.enabled && mapping.matches(document));
                if filter.lets_through(&destination.name) {
                    for mapping in matching {
                        deliveries.push(self.deliver(destination, mapping));
                    }
                } else if matching.next().is_some() {
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
        let known = self.lanes.iter().position(|lane| lane.mapping_id == mapping.id);
        let index = known.unwrap_or_else(|| {
            self.lanes.push(Lane {
                mapping_id: mapping.id,
                destination_id: destination.id,
                deadline_at: self.received_at + destination.settings.window(),
                lease_ends_at: self.received_at + mapping.lease(),
                wanted: 0,
            });
            self.lanes.len() - 1
        });
        self.lane_of.push(index);
        let lane = &mut self.lanes[index];
        lane.wanted += 1;
        NewDelivery {
            mapping_id: lane.mapping_id,
            destination_id: lane.destination_id,
            deadline_at: lane.deadline_at,
            lease: None,
        }
    }

    /// Leases as many deliveries of each lane as have a place, the first ones.
    fn lease(&mut self, reserved: &Reserved) {
        let node_id = reserved.dispatch.node_id();
        let mut left: Vec<u32> = reserved.places.iter().map(|(_, granted)| *granted).collect();
        let deliveries = self.events.iter_mut().flat_map(|event| &mut event.deliveries);
        for (delivery, lane) in deliveries.zip(&self.lane_of) {
            if left[*lane] > 0 {
                left[*lane] -= 1;
                let expires_at = self.lanes[*lane].lease_ends_at;
                delivery.lease = Some(Lease { node_id, expires_at });
            }
        }
    }

    /// Prints the documents of events that are delivered from memory while they stand parsed. Those that
    /// are claimed later are read from the store then, and need not be in memory until they are.
    fn print(&mut self, documents: Vec<Option<Value<'_>>>) {
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

/// An event's own word on where it goes: `integrations`.
struct Filter<'d, 'a>(Option<&'d Object<'a>>);

impl<'d, 'a> Filter<'d, 'a> {
    fn of(document: &'d Value<'a>) -> Self {
        Self(document.as_object().and_then(|it| it.get("integrations")?.as_object()))
    }

    /// What is said of the destination by name counts before what is said of all.
    fn lets_through(&self, destination: &str) -> bool {
        let Some(integrations) = self.0 else { return true };
        let said = integrations.get(destination).filter(|value| !value.is_null());
        !matches!(said.or_else(|| integrations.get("All")), Some(Value::Bool(false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn integrations_filter_destinations() {
        let lets = |integrations: &str| {
            let text = format!("{{\"integrations\":{integrations}}}");
            let document = parse(text.as_bytes()).expect("JSON");
            Filter::of(&document).lets_through("Hook")
        };
        for through in [
            "{}",
            "null",
            "[]",
            "false",
            r#"{"All":true}"#,
            r#"{"Other":false}"#,
            r#"{"All":false,"Hook":true}"#,
            r#"{"All":false,"Hook":{"x":1}}"#,
            r#"{"All":false,"Hook":{}}"#,
            r#"{"hook":false}"#,
            r#"{"All":"false"}"#,
        ] {
            assert!(lets(through), "{through}");
        }
        for kept in [
            r#"{"All":false}"#,
            r#"{"Hook":false}"#,
            r#"{"All":true,"Hook":false}"#,
            r#"{"All":false,"Other":true}"#,
            r#"{"All":false,"Hook":null}"#,
        ] {
            assert!(!lets(kept), "{kept}");
        }
    }
}
