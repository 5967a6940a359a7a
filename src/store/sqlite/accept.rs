//! Accept: events with their deliveries, skips and de-duplication keys.

use rusqlite::params;

use super::dedup::{self, Admission, Key};
use super::direct::{Held, Statement};
use super::row::int;
use super::writer::Writing;
use crate::domain::delivery::State;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::{Accepted, DeliveryIds, NewEvent};

const EVENT: &str =
    "INSERT INTO events (id, source_id, received_at, type, message_id, name, user_id,
    first_delivery_id, delivery_count, envelope, rejection, trace, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const DELIVERY: &str =
    "INSERT INTO deliveries (id, event_id, mapping_id, destination_id, accepted_at,
    deadline_at, state, token, tried, due_at, lease_node_id, lease_expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)";
const SKIP: &str = "INSERT INTO skips (event_id, destination_id) VALUES (?, ?)";

/// An event on its way in, with the key that stands for it; rejected ones have none.
#[derive(Debug)]
pub(super) struct Arrival {
    key: Option<Key>,
    new: NewEvent,
}

impl Arrival {
    /// Made by the caller, so that hashing is not the writer's work.
    pub(super) fn new(new: NewEvent) -> Self {
        let event = &new.event;
        let key = event.rejection.is_none().then(|| dedup::key(event.source_id, &event.message_id));
        Self { key, new }
    }

    /// How many rows it becomes.
    pub(super) fn rows(&self) -> usize {
        1 + self.new.deliveries.len()
    }

    /// About how much it holds of the queue.
    pub(super) fn bytes(&self) -> usize {
        const ROW: usize = 256;
        let event = &self.new.event;
        ROW + event.body.len()
            + event.envelope.as_ref().map_or(0, String::len)
            + self.new.deliveries.len() * ROW
    }
}

/// Writes the arrivals; answers are in their order.
pub(super) fn accept<'a>(
    writing: &mut Writing<'_>,
    arrivals: impl Iterator<Item = &'a Arrival>,
) -> Result<Vec<Accepted>, sqlx::Error> {
    let mut admission = Admission::new(writing)?;
    let mut rows = Rows::new(writing.held)?;
    let mut answers = Vec::with_capacity(arrivals.size_hint().0);
    for Arrival { key, new } in arrivals {
        if let Some(key) = key
            && !admission.admits(writing, key)?
        {
            writing.memory.ledger.events_duplicate += 1;
            answers.push(Accepted::Duplicate);
        } else {
            answers.push(rows.write(writing, new)?);
        }
    }
    admission.log(writing.held)?;
    Ok(answers)
}

/// The statements, one row each.
struct Rows<'a> {
    event: Statement<'a>,
    delivery: Statement<'a>,
    skip: Statement<'a>,
}

impl<'a> Rows<'a> {
    fn new(held: &'a Held<'_>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            event: held.prepare(EVENT)?,
            delivery: held.prepare(DELIVERY)?,
            skip: held.prepare(SKIP)?,
        })
    }

    fn write(
        &mut self,
        writing: &mut Writing<'_>,
        new: &NewEvent,
    ) -> Result<Accepted, sqlx::Error> {
        let memory = &mut *writing.memory;
        let event_id = memory.next_event_id;
        let first_delivery_id = memory.next_delivery_id;
        let delivery_count = int(new.deliveries.len() as u64);
        memory.next_event_id += 1;
        memory.next_delivery_id += delivery_count;
        if new.event.rejection.is_some() {
            memory.ledger.events_rejected += 1;
        } else {
            memory.ledger.events_accepted += 1;
        }
        let event = &*new.event;
        self.event.change(params![
            event_id,
            event.source_id.0,
            event.received_at.as_micros(),
            event.kind.map(EventType::as_str),
            event.message_id,
            event.name,
            event.user_id,
            first_delivery_id,
            delivery_count,
            event.envelope,
            event.rejection,
            event.trace.as_ref().map(|trace| trace.to_text()),
            &event.body[..],
        ])?;
        self.write_deliveries(writing, event_id, new)?;
        for skip in &new.skips {
            self.skip.change(params![event_id, skip.destination_id.0])?;
        }
        Ok(Accepted::Stored {
            event_id: EventId(event_id),
            delivery_ids: DeliveryIds::block(DeliveryId(first_delivery_id), new.deliveries.len()),
        })
    }

    fn write_deliveries(
        &mut self,
        writing: &mut Writing<'_>,
        event_id: i64,
        new: &NewEvent,
    ) -> Result<(), sqlx::Error> {
        let accepted_at = new.event.received_at.as_micros();
        let ledger = &mut writing.memory.ledger;
        let after = writing.memory.next_delivery_id;
        let first = after - int(new.deliveries.len() as u64);
        for (delivery, id) in new.deliveries.iter().zip(first..after) {
            ledger.accepted += 1;
            let (state, token, due_at) = if delivery.lease.is_some() {
                ledger.leased += 1;
                (State::Leased, 1, None)
            } else {
                ledger.pending += 1;
                (State::Pending, 0, Some(accepted_at))
            };
            self.delivery.change(params![
                id,
                event_id,
                delivery.mapping_id.0,
                delivery.destination_id.0,
                accepted_at,
                delivery.deadline_at.as_micros(),
                state.as_str(),
                token,
                due_at,
                delivery.lease.map(|lease| lease.node_id.0),
                delivery.lease.map(|lease| lease.expires_at.as_micros()),
            ])?;
        }
        Ok(())
    }
}
