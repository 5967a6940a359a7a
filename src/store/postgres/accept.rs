//! Accept: events with their deliveries and de-duplication keys, in one transaction.

use std::collections::HashSet;

use sqlx::postgres::PgConnection;

use super::counts::Counts;
use super::dedup_filter::Filters;
use super::keys::KeyGenerator;
use super::rows::NewRows;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::message_key::{MessageKey, message_key};
use crate::store::{Accepted, DeliveryIds, NewEvent};

const EVENTS: &str = "events (id, source_id, received_at, type, message_id, name, user_id,
    delivery_ids, skips, envelope, rejection, trace, body)";
const PENDING: &str = "pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
    token, tried, due_at)";
const LEASED: &str = "leased (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
    token, tried, node_id, lease_expires_at)";

/// An event to be accepted, with its keys: they are given once, so that an accept whose COMMIT was not
/// answered is found by them.
#[derive(Debug)]
pub(super) struct Arrival {
    /// None: a rejected event is no duplicate of any.
    key: Option<MessageKey>,
    event_id: i64,
    delivery_ids: Vec<i64>,
    new: NewEvent,
    /// Whether it counts for its source's daily quota.
    is_counted: bool,
}

impl Arrival {
    /// Gives the keys and hashes the message's, on the caller's thread.
    pub(super) fn new(new: NewEvent, keys: &KeyGenerator, is_counted: bool) -> Self {
        let event = &new.event;
        let key =
            event.rejection.is_none().then(|| message_key(event.source_id, &event.message_id));
        let event_id = keys.next();
        let delivery_ids = new.deliveries.iter().map(|_| keys.next()).collect();
        Self { key, event_id, delivery_ids, new, is_counted }
    }

    /// About how many bytes of the queue it takes.
    pub(super) fn bytes(&self) -> usize {
        const ROW: usize = 256;
        let event = &self.new.event;
        ROW + event.body.len()
            + event.envelope.as_ref().map_or(0, String::len)
            + self.new.deliveries.len() * ROW
    }

    fn stored(&self) -> Accepted {
        Accepted::Stored {
            event_id: EventId(self.event_id),
            delivery_ids: self
                .delivery_ids
                .iter()
                .copied()
                .map(DeliveryId)
                .collect::<DeliveryIds>(),
        }
    }
}

/// What a transaction wrote: the answers in the order of the arrivals, and a key by which it is found.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) answers: Vec<Accepted>,
    pub(super) event_id: Option<i64>,
}

/// Admits the arrivals; their rows are written with the counts.
pub(super) async fn accept(
    conn: &mut PgConnection,
    arrivals: &[&Arrival],
    filters: &Filters,
    now: ServiceTime,
    counts: &mut Counts,
) -> Result<Written, Failure> {
    let admitted = admit(conn, arrivals, filters).await?;
    let (mut events, mut pending, mut leased) =
        (NewRows::default(), NewRows::default(), NewRows::default());
    let mut written = Written { answers: Vec::with_capacity(arrivals.len()), event_id: None };
    for arrival in arrivals {
        if arrival.key.is_some() && !admitted.contains(&arrival.event_id) {
            counts.ledger.events_duplicate += 1;
            written.answers.push(Accepted::Duplicate);
            continue;
        }
        if arrival.new.event.rejection.is_some() {
            counts.ledger.events_rejected += 1;
        } else {
            counts.ledger.events_accepted += 1;
        }
        if arrival.is_counted {
            counts.used(&arrival.new.event);
        }
        event_row(&mut events, arrival);
        delivery_rows((&mut pending, &mut leased), arrival, now, counts);
        written.event_id.get_or_insert(arrival.event_id);
        written.answers.push(arrival.stored());
    }
    counts.rows.add(events, EVENTS, "");
    counts.rows.add(pending, PENDING, "");
    counts.rows.add(leased, LEASED, "");
    Ok(written)
}

/// The events whose messages are new.
async fn admit(
    conn: &mut PgConnection,
    arrivals: &[&Arrival],
    filters: &Filters,
) -> Result<HashSet<i64>, Failure> {
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    for arrival in arrivals {
        if let Some(key) = arrival.key {
            keys.push(uuid::Uuid::from_bytes(key));
            ids.push(arrival.event_id);
        }
    }
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let lookups = filters.lookups(arrivals.iter().filter_map(|arrival| arrival.key.as_ref()));
    let admitted: Vec<i64> = sqlx::query_scalar("SELECT admit($1, $2, $3, $4, $5, $6)")
        .bind(keys)
        .bind(ids)
        .bind(lookups.keys)
        .bind(lookups.slots)
        .bind(lookups.filtered_slots)
        .bind(lookups.filtered_until)
        .fetch_all(conn)
        .await?;
    Ok(admitted.into_iter().collect())
}

fn event_row(rows: &mut NewRows, arrival: &Arrival) {
    let event = &*arrival.new.event;
    let skips: Vec<i64> = arrival.new.skips.iter().map(|skip| skip.destination_id.0).collect();
    rows.row()
        .int(arrival.event_id)
        .int(event.source_id.0)
        .int(event.received_at.as_micros())
        .maybe_text(event.kind.map(EventType::as_str))
        .text(&event.message_id)
        .maybe_text(event.name.as_deref())
        .maybe_text(event.user_id.as_deref())
        .ints(&arrival.delivery_ids)
        .ints(&skips)
        .maybe_text(event.envelope.as_deref())
        .maybe_text(event.rejection.as_deref())
        .maybe_text(event.trace.as_ref().map(|trace| trace.to_text()).as_deref())
        .bytes(&event.body);
}

fn delivery_rows(
    (pending, leased): (&mut NewRows, &mut NewRows),
    arrival: &Arrival,
    now: ServiceTime,
    counts: &mut Counts,
) {
    let accepted_at = arrival.new.event.received_at.as_micros();
    for (delivery, id) in arrival.new.deliveries.iter().zip(&arrival.delivery_ids) {
        counts.ledger.accepted += 1;
        counts.statistics.accepted(delivery.mapping_id);
        let (rows, token) = match delivery.lease {
            Some(_) => (&mut *leased, 1),
            None => (&mut *pending, 0),
        };
        rows.row()
            .int(*id)
            .int(arrival.event_id)
            .int(delivery.mapping_id.0)
            .int(delivery.destination_id.0)
            .int(accepted_at)
            .int(delivery.deadline_at.as_micros())
            .int(token)
            .int(0);
        match delivery.lease {
            Some(lease) => {
                counts.ledger.leased += 1;
                rows.int(lease.node_id.0).int(lease.expires_at.as_micros());
            }
            None => {
                counts.ledger.pending += 1;
                rows.int(now.as_micros());
            }
        }
    }
}

/// Whether an event is stored.
pub(super) async fn is_stored(conn: &mut PgConnection, event_id: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM events WHERE id = $1)")
        .bind(event_id)
        .fetch_one(conn)
        .await
}
