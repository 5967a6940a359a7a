//! Accept: events with their deliveries, skips and de-duplication keys.

use rusqlite::params;

use super::dedup::admission::Admission;
use super::dedup::{self, Key};
use super::source_usage::Counts;
use super::writer::connection::Statement;
use super::writer::step::Tx;
use crate::domain::delivery::State;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::row::int;
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

/// An event to be accepted, with its de-duplication key; a rejected one has none.
#[derive(Debug)]
pub(super) struct Arrival {
    key: Option<Key>,
    new: NewEvent,
    /// Whether it counts for its source's daily quota.
    is_counted: bool,
}

impl Arrival {
    /// Hashes the key on the caller's thread, not the writer's.
    pub(super) fn new(new: NewEvent, is_counted: bool) -> Self {
        let event = &new.event;
        let key = event.rejection.is_none().then(|| dedup::key(event.source_id, &event.message_id));
        Self { key, new, is_counted }
    }

    /// How many rows it is written as.
    pub(super) fn rows(&self) -> usize {
        1 + self.new.deliveries.len()
    }

    /// About how many bytes of the queue it takes.
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
    tx: &mut Tx<'_>,
    arrivals: impl Iterator<Item = &'a Arrival>,
) -> rusqlite::Result<Vec<Accepted>> {
    let mut admission = Admission::new(tx)?;
    let mut rows = Rows::new(tx)?;
    let mut answers = Vec::with_capacity(arrivals.size_hint().0);
    let mut counts = Counts::default();
    for Arrival { key, new, is_counted } in arrivals {
        if let Some(key) = key
            && !admission.admits(tx, key)?
        {
            tx.state.ledger.events_duplicate += 1;
            answers.push(Accepted::Duplicate);
        } else {
            answers.push(rows.write(tx, new)?);
            if *is_counted {
                counts.count(&new.event);
            }
        }
    }
    counts.write(tx)?;
    admission.append_log(tx.sqlite)?;
    Ok(answers)
}

/// The prepared statements.
struct Rows<'a> {
    event: Statement<'a>,
    delivery: Statement<'a>,
    skip: Statement<'a>,
}

impl<'a> Rows<'a> {
    fn new(tx: &Tx<'a>) -> rusqlite::Result<Self> {
        Ok(Self {
            event: tx.prepare(EVENT)?,
            delivery: tx.prepare(DELIVERY)?,
            skip: tx.prepare(SKIP)?,
        })
    }

    fn write(&mut self, tx: &mut Tx<'_>, new: &NewEvent) -> rusqlite::Result<Accepted> {
        let state = &mut *tx.state;
        let event_id = state.next_event_id;
        let first_delivery_id = state.next_delivery_id;
        let delivery_count = int(new.deliveries.len() as u64);
        state.next_event_id += 1;
        state.next_delivery_id += delivery_count;
        if new.event.rejection.is_some() {
            state.ledger.events_rejected += 1;
        } else {
            state.ledger.events_accepted += 1;
        }
        let event = &*new.event;
        self.event.execute(params![
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
        self.write_deliveries(tx, event_id, new)?;
        for skip in &new.skips {
            self.skip.execute(params![event_id, skip.destination_id.0])?;
        }
        Ok(Accepted::Stored {
            event_id: EventId(event_id),
            delivery_ids: DeliveryIds::block(DeliveryId(first_delivery_id), new.deliveries.len()),
        })
    }

    fn write_deliveries(
        &mut self,
        tx: &mut Tx<'_>,
        event_id: i64,
        new: &NewEvent,
    ) -> rusqlite::Result<()> {
        let accepted_at = new.event.received_at.as_micros();
        let ledger = &mut tx.state.ledger;
        let after = tx.state.next_delivery_id;
        let first = after - int(new.deliveries.len() as u64);
        for (delivery, id) in new.deliveries.iter().zip(first..after) {
            ledger.accepted += 1;
            tx.statistics.counts().accepted(delivery.mapping_id);
            let (state, token, due_at) = if delivery.lease.is_some() {
                ledger.leased += 1;
                (State::Leased, 1, None)
            } else {
                ledger.pending += 1;
                (State::Pending, 0, Some(tx.clock.service_now().as_micros()))
            };
            self.delivery.execute(params![
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
