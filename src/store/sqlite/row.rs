//! Rows to words and numbers of the domain, and back. A word that no version of this program
//! writes is [`StoreError::Foreign`], never a panic and never a guess.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::failure::Failure;
use crate::domain::attempt::{Attempt, Batch, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Delivery, Reason, State};
use crate::domain::event::{Document, Event, EventType, StoredEvent};
use crate::domain::id::{
    AttemptId, DeliveryId, DestinationId, EventId, MappingId, NodeId, RevisionId, SourceId,
};
use crate::domain::trace::Trace;
use crate::store::{DeliveryRow, StoreError, TestSend, TestSendRow};

pub(super) mod headers;
mod usual;

/// A count as SQLite keeps it.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as the file holds it; CHECKs keep it from being negative.
pub(super) fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// A small count as the file holds it.
pub(super) fn small(int: i64) -> u32 {
    u32::try_from(int).unwrap_or(u32::MAX)
}

/// The error for a value that no version of this program writes.
pub(super) fn foreign(what: &str, found: &str) -> Failure {
    Failure::Refused(StoreError::Foreign { what: format!("{what} {found:?}") })
}

fn word<T>(what: &str, found: &str, parse: fn(&str) -> Option<T>) -> Result<T, Failure> {
    parse(found).ok_or_else(|| foreign(what, found))
}

fn maybe_word<T>(
    what: &str,
    found: Option<&str>,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    found.map(|found| word(what, found, parse)).transpose()
}

/// Reads columns one after the other.
pub(super) struct Columns<'a> {
    row: &'a SqliteRow,
    next: usize,
}

impl<'a> Columns<'a> {
    /// From the column `first` on.
    pub(super) fn from(row: &'a SqliteRow, first: usize) -> Self {
        Self { row, next: first }
    }

    /// The next column.
    pub(super) fn take<T>(&mut self) -> Result<T, sqlx::Error>
    where
        T: sqlx::Decode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let value = self.row.try_get(self.next);
        self.next += 1;
        value
    }

    /// The next column as a small count.
    pub(super) fn small(&mut self) -> Result<u32, sqlx::Error> {
        self.take::<i64>().map(small)
    }

    /// The next column as a time.
    pub(super) fn at(&mut self) -> Result<Timestamp, sqlx::Error> {
        self.take::<i64>().map(Timestamp::from_micros)
    }

    /// The next column as a time, if it holds one.
    pub(super) fn maybe_at(&mut self) -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(self.take::<Option<i64>>()?.map(Timestamp::from_micros))
    }
}

/// The columns that [`event`] reads, of `events` as `e`.
pub(super) const EVENT_COLUMNS: &str = "e.id, e.source_id, e.type, e.message_id, e.received_at, \
     e.name, e.user_id, e.body, e.envelope, e.rejection, e.trace";

/// An event from a row of [`EVENT_COLUMNS`].
pub(super) fn event(row: &SqliteRow) -> Result<StoredEvent, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(StoredEvent {
        id: EventId(from.take()?),
        event: Event {
            source_id: SourceId(from.take()?),
            kind: maybe_word("the event type", from.take()?, EventType::parse)?,
            message_id: from.take()?,
            received_at: from.at()?,
            name: from.take()?,
            user_id: from.take()?,
            body: Bytes::from(from.take::<Vec<u8>>()?),
            envelope: from.take()?,
            rejection: from.take()?,
            trace: maybe_word("the trace", from.take()?, Trace::parse_text)?.map(Arc::new),
            document: Document::default(),
        },
    })
}

/// The columns that [`delivery_row`] reads, of `deliveries` as `d` and `events` as `e`.
pub(super) const DELIVERY_COLUMNS: &str = "d.id, d.event_id, d.mapping_id, d.destination_id, \
     d.state, d.accepted_at, d.due_at, d.deadline_at, d.token, d.tried, d.lease_node_id, \
     d.lease_expires_at, d.settled_at, d.reason, d.last_outcome, d.last_status, \
     d.settled_by, e.type, e.name, e.message_id";

/// A delivery in a list from a row of [`DELIVERY_COLUMNS`].
pub(super) fn delivery_row(row: &SqliteRow) -> Result<DeliveryRow, Failure> {
    let mut from = Columns::from(row, 0);
    let delivery = Delivery {
        id: DeliveryId(from.take()?),
        event_id: EventId(from.take()?),
        mapping_id: MappingId(from.take()?),
        destination_id: DestinationId(from.take()?),
        state: word("the delivery state", from.take()?, State::parse)?,
        accepted_at: from.at()?,
        due_at: from.maybe_at()?,
        deadline_at: from.at()?,
        token: from.small()?,
        tried: from.small()?,
        lease_node_id: from.take::<Option<i64>>()?.map(NodeId),
        lease_expires_at: from.maybe_at()?,
        settled_at: from.maybe_at()?,
        reason: maybe_word("the reason", from.take()?, Reason::parse)?,
        last_outcome: maybe_word("the outcome", from.take()?, Outcome::parse)?,
        last_status: status(from.take()?),
        settled_by: from.take::<Option<i64>>()?.map(DeliveryId),
    };
    Ok(DeliveryRow {
        delivery,
        event_type: maybe_word("the event type", from.take()?, EventType::parse)?,
        event_name: from.take()?,
        message_id: from.take()?,
    })
}

/// The columns that [`attempt`] reads, of `attempts` as `a` and the batch it may be in as `b`.
pub(super) const ATTEMPT_COLUMNS: &str = "a.id, a.delivery_id, a.number, a.late, a.recorded_at, \
     a.node_id, a.revision_id, a.started_at, a.duration_us, a.outcome, a.status, a.error, \
     a.console, a.batch_id, coalesce(a.url, b.url), coalesce(a.request_headers, b.request_headers), \
     coalesce(a.body_sha256, b.body_sha256), coalesce(a.response_headers, b.response_headers), \
     coalesce(a.response_body, b.response_body), \
     coalesce(a.response_truncated, b.response_truncated), b.webhook_id, b.size, b.status";

/// How many columns [`ATTEMPT_COLUMNS`] are.
pub(super) const ATTEMPT_COLUMN_COUNT: usize = 23;

/// An attempt from a row of [`ATTEMPT_COLUMNS`].
pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt, Failure> {
    let mut from = Columns::from(row, 0);
    let id = AttemptId(from.take()?);
    let delivery_id = DeliveryId(from.take()?);
    let (number, late, recorded_at) = (from.small()?, from.take()?, from.at()?);
    let (node_id, revision_id) = (NodeId(from.take()?), RevisionId(from.take()?));
    let (started_at, duration_us) = (from.at()?, count(from.take()?));
    let outcome = word("the outcome", from.take()?, Outcome::parse)?;
    let mut made = NewAttempt {
        duration_us,
        status: status(from.take()?),
        error: from.take()?,
        console: from.take()?,
        ..NewAttempt::unsent(node_id, revision_id, started_at, outcome)
    };
    let is_in_batch = from.take::<Option<i64>>()?.is_some();
    let url = from.take()?;
    let request_headers = headers(from.take()?)?;
    let body_sha256 = from.take::<Option<Vec<u8>>>()?.and_then(|digest| digest.try_into().ok());
    let response_headers = headers(from.take()?)?;
    let response_body = Bytes::from(from.take::<Vec<u8>>()?);
    let response_truncated = from.take()?;
    if is_in_batch {
        made.batch = Some(Arc::new(Batch {
            webhook_id: from.take()?,
            size: from.small()?,
            status: status(from.take()?),
            url,
            request_headers,
            body_sha256: body_sha256.unwrap_or_default(),
            response_headers,
            response_body,
            response_truncated,
        }));
    } else {
        (made.url, made.request_headers, made.body_sha256) = (url, request_headers, body_sha256);
        (made.response_headers, made.response_body) = (response_headers, response_body);
        made.response_truncated = response_truncated;
    }
    Ok(Attempt { id, delivery_id, number, late, recorded_at, result: made })
}

/// The headers that a row keeps packed.
pub(super) fn headers(packed: &[u8]) -> Result<String, Failure> {
    headers::unpack(packed).ok_or_else(|| foreign("the headers", &hex::encode(packed)))
}

fn status(found: Option<i64>) -> Option<u16> {
    found.and_then(|status| u16::try_from(status).ok())
}

/// A mapping's test send: its id, its event's, and what it gave.
pub(super) fn test_send(row: &SqliteRow, mapping_id: MappingId) -> Result<TestSendRow, Failure> {
    let mut from = Columns::from(row, 0);
    let id = from.take()?;
    let event_id = from.take::<Option<i64>>()?.map(EventId);
    let attempt = tried(&mut from)?;
    Ok(TestSendRow { id, test: TestSend { mapping_id, event_id, attempt } })
}

fn tried(from: &mut Columns<'_>) -> Result<NewAttempt, Failure> {
    let (node_id, revision_id) = (NodeId(from.take()?), RevisionId(from.take()?));
    let (started_at, duration_us) = (from.at()?, count(from.take()?));
    let outcome = word("the outcome", from.take()?, Outcome::parse)?;
    Ok(NewAttempt {
        duration_us,
        status: status(from.take()?),
        error: from.take()?,
        console: from.take()?,
        url: from.take()?,
        request_headers: from.take()?,
        body_sha256: from.take::<Option<Vec<u8>>>()?.and_then(|digest| digest.try_into().ok()),
        response_headers: from.take()?,
        response_body: Bytes::from(from.take::<Vec<u8>>()?),
        response_truncated: from.take()?,
        ..NewAttempt::unsent(node_id, revision_id, started_at, outcome)
    })
}
