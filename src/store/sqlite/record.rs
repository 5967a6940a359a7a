//! Record: attempts and the state changes that follow, guarded by delivery and fencing token.

use std::sync::Arc;

use rusqlite::params;

use super::writer::connection::{Connection, Statement};
use super::writer::step::Tx;
use crate::domain::attempt::{Batch, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::ledger::Ledger;
use crate::domain::retry::Next;
use crate::domain::service_time::ServiceTime;
use crate::store::row::{headers, int};
use crate::store::{Record, Recorded};

const SETTLE: &str = "UPDATE deliveries SET state = ?3, due_at = ?4, settled_at = ?5, reason = ?6,
        token = token + (?9 IS NOT NULL), tried = tried + ?10,
        lease_node_id = iif(?9 IS NULL, NULL, lease_node_id), lease_expires_at = ?9,
        last_outcome = ?7, last_status = ?8
    WHERE id = ?1 AND token = ?2 AND state = 'leased'";
const ATTEMPT: &str = "INSERT INTO attempts (id, delivery_id, number, late, recorded_at, node_id,
    revision_id, started_at, duration_us, outcome, status, error, console, batch_id, url,
    request_headers, body_sha256, response_headers, response_body, response_truncated)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const BATCH: &str = "INSERT INTO batches (id, attempt_count, size, webhook_id, status, url,
    request_headers, body_sha256, response_headers, response_body, response_truncated)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Writes the records, in their order; so are the answers.
pub(super) fn record(tx: &mut Tx<'_>, records: &[&Record]) -> rusqlite::Result<Vec<Recorded>> {
    let mut settle = tx.prepare(SETTLE)?;
    let mut attempts = Attempts::new(tx)?;
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        let is_late = !apply(&mut settle, record)?;
        if is_late {
            answers.push(Recorded::Late);
            if record.attempt.outcome == Outcome::Unknown {
                continue;
            }
        } else {
            answers.push(Recorded::Applied);
            count(&mut tx.state.ledger, record.next);
        }
        tx.statistics.counts().recorded(record, !is_late);
        let id = tx.state.next_attempt_id;
        tx.state.next_attempt_id += 1;
        attempts.write(id, record, is_late)?;
    }
    attempts.end(tx.sqlite)?;
    Ok(answers)
}

/// The new state of a delivery.
struct Change {
    state: State,
    due_at: Option<ServiceTime>,
    settled_at: Option<Timestamp>,
    reason: Option<Reason>,
    renewed_until: Option<ServiceTime>,
}

impl Change {
    const fn to(state: State) -> Self {
        Self { state, due_at: None, settled_at: None, reason: None, renewed_until: None }
    }

    fn of(record: &Record) -> Self {
        let attempt = &record.attempt;
        let ended_at = attempt.started_at + std::time::Duration::from_micros(attempt.duration_us);
        match record.next {
            Next::Delivered => Self { settled_at: Some(ended_at), ..Self::to(State::Delivered) },
            Next::Retry { due_at } => Self { due_at: Some(due_at), ..Self::to(State::Pending) },
            Next::Dead { reason } => {
                Self { settled_at: Some(ended_at), reason: Some(reason), ..Self::to(State::Dead) }
            }
            Next::Renewed { lease_expires_at } => {
                Self { renewed_until: Some(lease_expires_at), ..Self::to(State::Leased) }
            }
            Next::Discarded => Self { settled_at: Some(ended_at), ..Self::to(State::Discarded) },
        }
    }
}

/// Changes the delivery if its fencing token is still that of the record; returns whether it was.
fn apply(settle: &mut Statement<'_>, record: &Record) -> rusqlite::Result<bool> {
    let change = Change::of(record);
    let changed = settle.execute(params![
        record.delivery_id.0,
        record.token,
        change.state.as_str(),
        change.due_at.map(ServiceTime::as_micros),
        change.settled_at.map(Timestamp::as_micros),
        change.reason.map(Reason::as_str),
        record.attempt.outcome.as_str(),
        record.attempt.status,
        change.renewed_until.map(ServiceTime::as_micros),
        counts_as_try(record),
    ])?;
    Ok(changed == 1)
}

/// Whether the delivery has been tried: an attempt of unknown outcome may never have been sent, and a batch that
/// was rejected as a whole is tried again in halves.
fn counts_as_try(record: &Record) -> bool {
    record.attempt.outcome != Outcome::Unknown && !matches!(record.next, Next::Renewed { .. })
}

fn count(ledger: &mut Ledger, next: Next) {
    ledger.leased = ledger.leased.saturating_sub(1);
    match next {
        Next::Delivered => ledger.delivered += 1,
        Next::Retry { .. } => ledger.pending += 1,
        Next::Discarded => ledger.discarded += 1,
        Next::Dead { .. } => ledger.dead += 1,
        Next::Renewed { .. } => ledger.leased += 1,
    }
}

/// Writes attempts, and the batches that they were part of.
struct Attempts<'a> {
    statement: Statement<'a>,
    recorded_at: Timestamp,
    batches: Vec<BatchRow>,
    headers: Headers,
}

/// The headers of one row, packed; their room is used again for the next.
#[derive(Default)]
struct Headers {
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Headers {
    fn pack(&mut self, request: &str, response: &str) {
        self.request.clear();
        self.response.clear();
        headers::pack(request, &mut self.request);
        headers::pack(response, &mut self.response);
    }
}

struct BatchRow {
    id: i64,
    attempts: i64,
    batch: Arc<Batch>,
}

impl<'a> Attempts<'a> {
    fn new(tx: &Tx<'a>) -> rusqlite::Result<Self> {
        let statement = tx.prepare(ATTEMPT)?;
        let recorded_at = tx.clock.now();
        Ok(Self { statement, recorded_at, batches: Vec::new(), headers: Headers::default() })
    }

    fn write(&mut self, id: i64, record: &Record, is_late: bool) -> rusqlite::Result<()> {
        let made = &record.attempt;
        let batch_id = made.batch.as_ref().map(|batch| self.batch(id, batch));
        let alone = batch_id.is_none().then_some(made);
        if let Some(it) = alone {
            self.headers.pack(&it.request_headers, &it.response_headers);
        }
        self.statement.execute(params![
            id,
            record.delivery_id.0,
            record.token,
            is_late,
            self.recorded_at.as_micros(),
            made.node_id.0,
            made.revision_id.0,
            made.started_at.as_micros(),
            int(made.duration_us),
            made.outcome.as_str(),
            made.status,
            made.error,
            made.console,
            batch_id,
            alone.map(|it| it.url.as_str()),
            alone.map(|_| &self.headers.request[..]),
            alone.and_then(|it| it.body_sha256.as_ref()).map(<[u8; 32]>::as_slice),
            alone.map(|_| &self.headers.response[..]),
            alone.map(|it| &it.response_body[..]),
            alone.map(|it: &NewAttempt| it.response_truncated),
        ])?;
        Ok(())
    }

    /// The key of an attempt's batch. Attempts of one batch follow each other.
    fn batch(&mut self, id: i64, batch: &Arc<Batch>) -> i64 {
        match self.batches.last_mut() {
            Some(known) if Arc::ptr_eq(&known.batch, batch) => {
                known.attempts += 1;
                known.id
            }
            _ => {
                self.batches.push(BatchRow { id, attempts: 1, batch: Arc::clone(batch) });
                id
            }
        }
    }

    fn end(mut self, sqlite: &Connection) -> rusqlite::Result<()> {
        for BatchRow { id, attempts, batch } in self.batches {
            self.headers.pack(&batch.request_headers, &batch.response_headers);
            sqlite.execute(
                BATCH,
                params![
                    id,
                    attempts,
                    batch.size,
                    batch.webhook_id,
                    batch.status,
                    batch.url,
                    &self.headers.request[..],
                    &batch.body_sha256[..],
                    &self.headers.response[..],
                    &batch.response_body[..],
                    batch.response_truncated,
                ],
            )?;
        }
        Ok(())
    }
}
