//! Accept: events with their deliveries, skips and de-duplication keys. The events of all callers
//! whose requests are in one transaction are written by shared statements.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::dedup::{self, Candidate, Key};
use super::shape::Shaped;
use super::together::{Batch, MOST_ROWS, Padded};
use super::writer::Tx;
use crate::clock::Timestamp;
use crate::domain::event::{Event, EventType};
use crate::domain::id::{DeliveryId, EventId};
use crate::store::{Accepted, NewDelivery, NewEvent};

/// The statements.
#[derive(Debug)]
pub(super) struct Statements {
    event: Shaped,
    delivery: Shaped,
    skip: Shaped,
    event_together: Padded,
    delivery_together: Padded,
    skip_together: Padded,
}

const EVENT: &str =
    "INSERT OR FAIL INTO events (id, source_id, received_at, type, message_id, name, user_id,
    first_delivery_id, delivery_count, envelope, rejection, trace, body)";
const DELIVERY: &str = "INSERT OR FAIL INTO deliveries (id, event_id, mapping_id, destination_id,
    accepted_at, deadline_at, lease_node_id, lease_expires_at, state, token, tried, due_at)
    SELECT *, iif(column7 IS NULL, 'pending', 'leased'), column7 IS NOT NULL, 0,
        iif(column7 IS NULL, column5, NULL)
    FROM (VALUES ";
const SKIP: &str = "INSERT OR FAIL INTO skips (event_id, destination_id)";

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            event: Shaped::new(&format!("{EVENT} VALUES "), 13, ""),
            delivery: Shaped::new(DELIVERY, 8, ")"),
            skip: Shaped::new(&format!("{SKIP} VALUES "), 2, ""),
            event_together: Padded::insert(EVENT, 13),
            delivery_together: Padded::new(DELIVERY, 8, ") WHERE column1 IS NOT NULL"),
            skip_together: Padded::insert(SKIP, 2),
        }
    }
}

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

    /// About how much it holds of the queue.
    pub(super) fn bytes(&self) -> usize {
        const ROW: usize = 256;
        let event = &self.new.event;
        ROW + event.body.len()
            + event.envelope.as_ref().map_or(0, String::len)
            + self.new.deliveries.len() * ROW
    }
}

struct EventRow {
    id: i64,
    first_delivery_id: i64,
    delivery_count: i64,
    event: Arc<Event>,
}

fn bind_event(row: &EventRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let event = &row.event;
    to.add(row.id)?;
    to.add(event.source_id.0)?;
    to.add(event.received_at.as_micros())?;
    to.add(event.kind.map(EventType::as_str))?;
    to.add(event.message_id.as_str())?;
    to.add(event.name.as_deref())?;
    to.add(event.user_id.as_deref())?;
    to.add(row.first_delivery_id)?;
    to.add(row.delivery_count)?;
    to.add(event.envelope.as_deref())?;
    to.add(event.rejection.as_deref())?;
    to.add(event.trace.as_ref().map(|trace| trace.to_text()))?;
    to.add(&event.body[..])
}

struct DeliveryRow {
    id: i64,
    event_id: i64,
    accepted_at: Timestamp,
    new: NewDelivery,
}

fn bind_delivery(row: &DeliveryRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.id)?;
    to.add(row.event_id)?;
    to.add(row.new.mapping_id.0)?;
    to.add(row.new.destination_id.0)?;
    to.add(row.accepted_at.as_micros())?;
    to.add(row.new.deadline_at.as_micros())?;
    to.add(row.new.lease.map(|lease| lease.node_id.0))?;
    to.add(row.new.lease.map(|lease| lease.expires_at.as_micros()))
}

struct SkipRow {
    event_id: i64,
    destination_id: i64,
}

fn bind_skip(row: &SkipRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.event_id)?;
    to.add(row.destination_id)
}

/// Writes the arrivals; answers are in their order.
pub(super) async fn accept(
    tx: &mut Tx<'_>,
    arrivals: &[&Arrival],
) -> Result<Vec<Accepted>, sqlx::Error> {
    let first_event_id = tx.memory.next_event_id;
    let duplicates = find_duplicates(tx, arrivals, first_event_id).await?;
    let mut rows = Rows::default();
    let mut answers = Vec::with_capacity(arrivals.len());
    for (arrival, event_id) in arrivals.iter().zip(first_event_id..) {
        if duplicates.contains(&event_id) {
            tx.memory.ledger.events_duplicate += 1;
            answers.push(Accepted::Duplicate);
        } else {
            answers.push(rows.add(tx, event_id, &arrival.new));
        }
    }
    // Ids of duplicates stay unused: gaps cost nothing, and every arrival knows its id at once.
    tx.memory.next_event_id = first_event_id + i64::try_from(arrivals.len()).unwrap_or(i64::MAX);
    let statements = &tx.statements.accept;
    statements.event.execute(tx.conn, &rows.events, bind_event).await?;
    statements.delivery.execute(tx.conn, &rows.deliveries, bind_delivery).await?;
    statements.skip.execute(tx.conn, &rows.skips, bind_skip).await?;
    Ok(answers)
}

/// Adds the arrivals to a batch on the assumption that none is a duplicate; answers are in their
/// order. None when that cannot be, or they are too many: they have to go the long way.
pub(super) fn foresee(
    tx: &mut Tx<'_>,
    arrivals: &[&Arrival],
    batch: &mut Batch,
) -> Result<Option<Vec<Accepted>>, BoxDynError> {
    let mut seen = HashSet::with_capacity(arrivals.len());
    let mut candidates = Vec::with_capacity(arrivals.len());
    let mut rows = Rows::default();
    let mut answers = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        let event_id = tx.memory.next_event_id;
        tx.memory.next_event_id += 1;
        if let Some(key) = arrival.key {
            if !seen.insert(key) {
                return Ok(None);
            }
            candidates.push(Candidate { key, event_id });
        }
        answers.push(rows.add(tx, event_id, &arrival.new));
    }
    if rows.events.len().max(rows.deliveries.len()).max(rows.skips.len()) > MOST_ROWS {
        return Ok(None);
    }
    if !dedup::foresee(tx, &candidates, batch)? {
        return Ok(None);
    }
    let statements = &tx.statements.accept;
    batch.change(&statements.event_together, &rows.events, bind_event)?;
    batch.change(&statements.delivery_together, &rows.deliveries, bind_delivery)?;
    batch.change(&statements.skip_together, &rows.skips, bind_skip)?;
    Ok(Some(answers))
}

/// The ids, from `first_event_id` in the order of the arrivals, that are duplicates: of what is
/// remembered or of another arrival in the same transaction.
async fn find_duplicates(
    tx: &mut Tx<'_>,
    arrivals: &[&Arrival],
    first_event_id: i64,
) -> Result<HashSet<i64>, sqlx::Error> {
    let mut seen = HashSet::with_capacity(arrivals.len());
    let mut repeated = Vec::new();
    let mut candidates = Vec::with_capacity(arrivals.len());
    for (arrival, event_id) in arrivals.iter().zip(first_event_id..) {
        if let Some(key) = arrival.key {
            if seen.insert(key) {
                candidates.push(Candidate { key, event_id });
            } else {
                repeated.push(event_id);
            }
        }
    }
    let mut duplicates = dedup::remember(tx, candidates).await?;
    duplicates.extend(repeated);
    Ok(duplicates)
}

#[derive(Default)]
struct Rows {
    events: Vec<EventRow>,
    deliveries: Vec<DeliveryRow>,
    skips: Vec<SkipRow>,
}

impl Rows {
    fn add(&mut self, tx: &mut Tx<'_>, event_id: i64, new: &NewEvent) -> Accepted {
        let first_delivery_id = tx.memory.next_delivery_id;
        let delivery_count = i64::try_from(new.deliveries.len()).unwrap_or(i64::MAX);
        tx.memory.next_delivery_id += delivery_count;
        let ledger = &mut tx.memory.ledger;
        if new.event.rejection.is_some() {
            ledger.events_rejected += 1;
        } else {
            ledger.events_accepted += 1;
        }
        for (delivery, id) in new.deliveries.iter().zip(first_delivery_id..) {
            ledger.accepted += 1;
            if delivery.lease.is_some() {
                ledger.leased += 1;
            } else {
                ledger.pending += 1;
            }
            let accepted_at = new.event.received_at;
            self.deliveries.push(DeliveryRow { id, event_id, accepted_at, new: *delivery });
        }
        self.skips.extend(
            new.skips
                .iter()
                .map(|skip| SkipRow { event_id, destination_id: skip.destination_id.0 }),
        );
        let event = Arc::clone(&new.event);
        self.events.push(EventRow { id: event_id, first_delivery_id, delivery_count, event });
        Accepted::Stored {
            event_id: EventId(event_id),
            first_delivery_id: DeliveryId(first_delivery_id),
        }
    }
}
