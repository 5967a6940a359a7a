//! Decoding of rows into domain types. A value that no version of this program writes is
//! [`StoreError::Foreign`], never a panic and never a guess.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::failure::{Failure, SqlError};
use super::{DeliveryRow, StoreError};
use crate::domain::attempt::{Attempt, Batch, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Delivery, Reason, State};
use crate::domain::event::{Document, Event, EventType, StoredEvent};
use crate::domain::id::{
    AttemptId, DeliveryId, DestinationId, EventId, MappingId, NodeId, RevisionId, SourceId,
};
use crate::domain::ledger::Ledger;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::trace::Trace;

mod audit;
mod credential;
mod dictionary;
pub(super) mod headers;
mod job;
mod operator;
mod pause;
mod pipeline;
mod statistics;
mod token;

pub(super) use audit::{AUDIT_COLUMNS, Chain, audit_entry};
pub(super) use credential::{CONNECTIONS, CREDENTIALS, connection, credential, slot_columns};
pub(super) use job::{JOB_COLUMNS, StoredJob, creation, job, job_entry};
pub(super) use operator::{alert, attempt_row, dead_letter_group, idempotency_state, test_send};
pub(super) use pause::{
    PAUSES, RECEIVER_WAITS, drain_rate, pause, pause_entry, pause_state, receiver_wait,
};
pub(super) use pipeline::{
    DESTINATIONS, MAPPINGS, SHARED_SECRETS, SOURCES, WRITE_KEYS, destination, mapping, revision,
    shared_secret, source, write_key,
};
pub(super) use statistics::{COUNTED, level, statistics, statistics_values};
pub(super) use token::{TOKEN_COLUMNS, scope_text, token, token_entry};

/// A count as an SQLite integer.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count from an SQLite integer; CHECKs keep it from being negative.
pub(super) fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// A small count from an SQLite integer.
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

/// A row of either engine, and on SQLite of either client: of a reader's query or of a write step's.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    /// From SQLite's read pool.
    Sqlx(&'a SqliteRow),
    /// From SQLite's writer, or a reader beside the pool.
    Rusqlite(&'a rusqlite::Row<'a>),
    /// From PostgreSQL.
    Postgres(&'a PgRow),
}

impl<'a> From<&'a PgRow> for Row<'a> {
    fn from(row: &'a PgRow) -> Self {
        Self::Postgres(row)
    }
}

impl<'a> From<&'a SqliteRow> for Row<'a> {
    fn from(row: &'a SqliteRow) -> Self {
        Self::Sqlx(row)
    }
}

impl<'a> From<&'a rusqlite::Row<'_>> for Row<'a> {
    fn from(row: &'a rusqlite::Row<'_>) -> Self {
        Self::Rusqlite(row)
    }
}

/// Reads columns one after the other.
pub(super) struct Columns<'a> {
    row: Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    /// From the column `first` on.
    pub(super) fn from(row: impl Into<Row<'a>>, first: usize) -> Self {
        Self { row: row.into(), next: first }
    }

    fn step(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// The next column.
    pub(super) fn take<T>(&mut self) -> Result<T, SqlError>
    where
        T: sqlx::Decode<'a, sqlx::Sqlite>
            + sqlx::Type<sqlx::Sqlite>
            + FromSql
            + sqlx::Decode<'a, sqlx::Postgres>
            + sqlx::Type<sqlx::Postgres>,
    {
        let column = self.step();
        match self.row {
            Row::Sqlx(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
            Row::Rusqlite(row) => Ok(row.get(column)?),
        }
    }

    /// The next column as text, if it is not NULL.
    pub(super) fn maybe_text(&mut self) -> Result<Option<&'a str>, SqlError> {
        let column = self.step();
        match self.row {
            Row::Sqlx(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
            Row::Rusqlite(row) => Ok(row.get_ref(column)?.as_str_or_null().map_err(mistyped)?),
        }
    }

    /// The next column as text.
    pub(super) fn text(&mut self) -> Result<&'a str, SqlError> {
        let column = self.step();
        match self.row {
            Row::Sqlx(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
            Row::Rusqlite(row) => Ok(row.get_ref(column)?.as_str().map_err(mistyped)?),
        }
    }

    /// The next column as bytes.
    pub(super) fn blob(&mut self) -> Result<&'a [u8], SqlError> {
        let column = self.step();
        match self.row {
            Row::Sqlx(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
            Row::Rusqlite(row) => Ok(row.get_ref(column)?.as_blob().map_err(mistyped)?),
        }
    }

    /// The next column as a small count.
    pub(super) fn small(&mut self) -> Result<u32, SqlError> {
        self.take::<i64>().map(small)
    }

    /// The next column as a small count, if it is not NULL.
    pub(super) fn maybe_small(&mut self) -> Result<Option<u32>, SqlError> {
        Ok(self.take::<Option<i64>>()?.map(small))
    }

    /// The next column as a time.
    pub(super) fn at(&mut self) -> Result<Timestamp, SqlError> {
        self.take::<i64>().map(Timestamp::from_micros)
    }

    /// The next column as a service time.
    pub(super) fn service_at(&mut self) -> Result<ServiceTime, SqlError> {
        self.take::<i64>().map(ServiceTime::from_micros)
    }

    /// The next column as a service time, if it is not NULL.
    pub(super) fn maybe_service_at(&mut self) -> Result<Option<ServiceTime>, SqlError> {
        Ok(self.take::<Option<i64>>()?.map(ServiceTime::from_micros))
    }

    /// The next column as a time, if it is not NULL.
    pub(super) fn maybe_at(&mut self) -> Result<Option<Timestamp>, SqlError> {
        Ok(self.take::<Option<i64>>()?.map(Timestamp::from_micros))
    }

    /// The next column as exactly so many bytes.
    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Failure> {
        let found = self.blob()?;
        found.try_into().map_err(|_wrong| foreign(what, &format!("{} bytes long", found.len())))
    }

    /// The next five columns as a sealed secret.
    pub(super) fn sealed(&mut self) -> Result<SealedSecret, Failure> {
        Ok(SealedSecret {
            id: self.bytes("a secret's id")?,
            key_id: self.take()?,
            sealed: self.take()?,
            created_at: self.at()?,
            retires_at: self.maybe_service_at()?,
        })
    }
}

fn mistyped(error: FromSqlError) -> rusqlite::Error {
    error.into()
}

/// Parses JSON text that this program wrote.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    what: &str,
    text: &str,
) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| foreign(what, &error.to_string()))
}

/// JSON text of what this program defines.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| foreign("a value", &error.to_string()))
}

/// The ledger, from a row that begins with its twelve columns.
pub(super) fn read_ledger<E>(column: impl Fn(usize) -> Result<i64, E>) -> Result<Ledger, E> {
    let at = |index: usize| column(index).map(count);
    Ok(Ledger {
        events_accepted: at(0)?,
        events_rejected: at(1)?,
        events_duplicate: at(2)?,
        accepted: at(3)?,
        pending: at(4)?,
        leased: at(5)?,
        delivered: at(6)?,
        dead: at(7)?,
        discarded: at(8)?,
        delivered_pruned: at(9)?,
        dead_pruned: at(10)?,
        discarded_pruned: at(11)?,
    })
}

/// The columns that [`event`] reads, of `events` as `e`.
pub(super) const EVENT_COLUMNS: &str = "e.id, e.source_id, e.type, e.message_id, e.received_at, \
     e.name, e.user_id, e.body, e.envelope, e.rejection, e.trace";

/// An event from a row of [`EVENT_COLUMNS`].
pub(super) fn event<'a>(row: impl Into<Row<'a>>) -> Result<StoredEvent, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(StoredEvent {
        id: EventId(from.take()?),
        event: Event {
            source_id: SourceId(from.take()?),
            kind: maybe_word("the event type", from.maybe_text()?, EventType::parse)?,
            message_id: from.take()?,
            received_at: from.at()?,
            name: from.take()?,
            user_id: from.take()?,
            body: Bytes::from(from.take::<Vec<u8>>()?),
            envelope: from.take()?,
            rejection: from.take()?,
            trace: maybe_word("the trace", from.maybe_text()?, Trace::parse_text)?.map(Arc::new),
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
pub(super) fn delivery_row<'a>(row: impl Into<Row<'a>>) -> Result<DeliveryRow, Failure> {
    let mut from = Columns::from(row, 0);
    let delivery = Delivery {
        id: DeliveryId(from.take()?),
        event_id: EventId(from.take()?),
        mapping_id: MappingId(from.take()?),
        destination_id: DestinationId(from.take()?),
        state: word("the delivery state", from.text()?, State::parse)?,
        accepted_at: from.at()?,
        due_at: from.maybe_service_at()?,
        deadline_at: from.service_at()?,
        token: from.small()?,
        tried: from.small()?,
        lease_node_id: from.take::<Option<i64>>()?.map(NodeId),
        lease_expires_at: from.maybe_service_at()?,
        settled_at: from.maybe_at()?,
        reason: maybe_word("the reason", from.maybe_text()?, Reason::parse)?,
        last_outcome: maybe_word("the outcome", from.maybe_text()?, Outcome::parse)?,
        last_status: status(from.take()?),
        settled_by: from.take::<Option<i64>>()?.map(DeliveryId),
    };
    Ok(DeliveryRow {
        delivery,
        event_type: maybe_word("the event type", from.maybe_text()?, EventType::parse)?,
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

/// An attempt from a row of [`ATTEMPT_COLUMNS`].
pub(super) fn attempt<'a>(row: impl Into<Row<'a>>) -> Result<Attempt, Failure> {
    let mut from = Columns::from(row, 0);
    let id = AttemptId(from.take()?);
    let delivery_id = DeliveryId(from.take()?);
    let (number, late, recorded_at) = (from.small()?, from.take()?, from.at()?);
    let (node_id, revision_id) = (NodeId(from.take()?), RevisionId(from.take()?));
    let (started_at, duration_us) = (from.at()?, count(from.take()?));
    let outcome = word("the outcome", from.text()?, Outcome::parse)?;
    let mut made = NewAttempt {
        duration_us,
        status: status(from.take()?),
        error: from.take()?,
        console: from.take()?,
        ..NewAttempt::unsent(node_id, revision_id, started_at, outcome)
    };
    let is_in_batch = from.take::<Option<i64>>()?.is_some();
    let url = from.take()?;
    let request_headers = headers(from.blob()?)?;
    let body_sha256 = from.take::<Option<Vec<u8>>>()?.and_then(|digest| digest.try_into().ok());
    let response_headers = headers(from.blob()?)?;
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

/// Unpacks the headers of a row.
pub(super) fn headers(packed: &[u8]) -> Result<String, Failure> {
    headers::unpack(packed).ok_or_else(|| foreign("the headers", &hex::encode(packed)))
}

fn status(found: Option<i64>) -> Option<u16> {
    found.and_then(|status| u16::try_from(status).ok())
}
