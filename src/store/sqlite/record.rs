//! Record: attempts and what follows from each, guarded by delivery and token. The records of all
//! callers that are in one transaction are written by shared statements.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::row::int;
use super::shape::Shaped;
use super::together::{self, MOST_ROWS, Padded};
use super::writer::Tx;
use crate::clock::Timestamp;
use crate::domain::attempt::{Batch, Outcome};
use crate::domain::delivery::{Reason, State};
use crate::domain::retry::Next;
use crate::store::{Record, Recorded};

/// The statements.
#[derive(Debug)]
pub(super) struct Statements {
    settle: Shaped,
    settle_telling: Shaped,
    attempt: Shaped,
    member: Shaped,
    batch: Shaped,
    settle_together: Padded,
    attempt_together: Padded,
    member_together: Padded,
    batch_together: Padded,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            settle: Shaped::new(MADE, 9, SETTLE),
            settle_telling: Shaped::new(MADE, 9, &format!("{SETTLE} RETURNING id")),
            attempt: Shaped::new(&format!("{ATTEMPT} VALUES "), 19, ""),
            member: Shaped::new(&format!("{MEMBER} VALUES "), 14, ""),
            batch: Shaped::new(&format!("{BATCH} VALUES "), 11, ""),
            settle_together: Padded::new(MADE, 9, SETTLE),
            attempt_together: Padded::insert(ATTEMPT, 19),
            member_together: Padded::insert(MEMBER, 14),
            batch_together: Padded::insert(BATCH, 11),
        }
    }
}

const ATTEMPT: &str =
    "INSERT OR FAIL INTO attempts (id, delivery_id, number, late, recorded_at, node_id,
    revision_id, started_at, duration_us, outcome, status, error, console, url, request_headers,
    body_sha256, response_headers, response_body, response_truncated)";
const MEMBER: &str =
    "INSERT OR FAIL INTO attempts (id, delivery_id, number, late, recorded_at, node_id,
    revision_id, started_at, duration_us, outcome, status, error, console, batch_id)";
const BATCH: &str = "INSERT OR FAIL INTO batches (id, attempt_count, size, webhook_id, status, url,
    request_headers, body_sha256, response_headers, response_body, response_truncated)";
const MADE: &str =
    "WITH made (id, token, state, due_at, settled_at, reason, outcome, status, renewed_until)
    AS (VALUES ";
const SETTLE: &str = ")
    UPDATE OR FAIL deliveries AS d SET state = made.state, due_at = made.due_at,
        settled_at = made.settled_at, reason = made.reason,
        token = d.token + (made.renewed_until IS NOT NULL),
        tried = d.tried + (made.renewed_until IS NULL),
        lease_node_id = iif(made.renewed_until IS NULL, NULL, d.lease_node_id),
        lease_expires_at = made.renewed_until,
        last_outcome = made.outcome, last_status = made.status
    FROM made WHERE d.id = made.id AND d.token = made.token AND d.state = 'leased'";

/// What a delivery becomes.
struct Change {
    state: State,
    due_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    reason: Option<Reason>,
    renewed_until: Option<Timestamp>,
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

fn bind_settle(record: &&Record, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let change = Change::of(record);
    to.add(record.delivery_id.0)?;
    to.add(i64::from(record.token))?;
    to.add(change.state.as_str())?;
    to.add(change.due_at.map(Timestamp::as_micros))?;
    to.add(change.settled_at.map(Timestamp::as_micros))?;
    to.add(change.reason.map(Reason::as_str))?;
    to.add(record.attempt.outcome.as_str())?;
    to.add(record.attempt.status.map(i64::from))?;
    to.add(change.renewed_until.map(Timestamp::as_micros))
}

struct AttemptRow<'a> {
    id: i64,
    late: bool,
    recorded_at: Timestamp,
    batch_id: Option<i64>,
    record: &'a Record,
}

struct BatchRow<'a> {
    id: i64,
    attempts: i64,
    batch: &'a Arc<Batch>,
}

/// The rows that attempts become.
#[derive(Default)]
struct Rows<'a> {
    alone: Vec<AttemptRow<'a>>,
    members: Vec<AttemptRow<'a>>,
    batches: Vec<BatchRow<'a>>,
}

impl<'a> Rows<'a> {
    /// Adds an attempt. Those of one batch follow each other.
    fn add(&mut self, id: i64, record: &'a Record, late: bool, recorded_at: Timestamp) {
        let row = AttemptRow { id, late, recorded_at, batch_id: None, record };
        let Some(batch) = &record.attempt.batch else { return self.alone.push(row) };
        match self.batches.last_mut().filter(|it| Arc::ptr_eq(it.batch, batch)) {
            Some(known) => known.attempts += 1,
            None => self.batches.push(BatchRow { id, attempts: 1, batch }),
        }
        let batch_id = self.batches.last().map(|it| it.id);
        self.members.push(AttemptRow { batch_id, ..row });
    }
}

fn bind_attempt(row: &AttemptRow<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let made = &row.record.attempt;
    bind_every(row, to)?;
    to.add(made.url.as_str())?;
    to.add(made.request_headers.as_str())?;
    to.add(made.body_sha256.as_ref().map(|digest| &digest[..]))?;
    to.add(made.response_headers.as_str())?;
    to.add(&made.response_body[..])?;
    to.add(made.response_truncated)
}

fn bind_member(row: &AttemptRow<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    bind_every(row, to)?;
    to.add(row.batch_id)
}

fn bind_batch(row: &BatchRow<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let batch = row.batch;
    to.add(row.id)?;
    to.add(row.attempts)?;
    to.add(i64::from(batch.size))?;
    to.add(batch.webhook_id.as_str())?;
    to.add(batch.status.map(i64::from))?;
    to.add(batch.url.as_str())?;
    to.add(batch.request_headers.as_str())?;
    to.add(&batch.body_sha256[..])?;
    to.add(batch.response_headers.as_str())?;
    to.add(&batch.response_body[..])?;
    to.add(batch.response_truncated)
}

/// What every attempt has of its own.
fn bind_every(row: &AttemptRow<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let made = &row.record.attempt;
    to.add(row.id)?;
    to.add(row.record.delivery_id.0)?;
    to.add(i64::from(row.record.token))?;
    to.add(row.late)?;
    to.add(row.recorded_at.as_micros())?;
    to.add(made.node_id.0)?;
    to.add(made.revision_id.0)?;
    to.add(made.started_at.as_micros())?;
    to.add(int(made.duration_us))?;
    to.add(made.outcome.as_str())?;
    to.add(made.status.map(i64::from))?;
    to.add(made.error.as_deref())?;
    to.add(made.console.as_deref())
}

/// Adds the records to a batch on the assumption that every lease still stands; answers are in their
/// order. None when that cannot be, or they are too many: they have to go the long way.
pub(super) fn foresee(
    tx: &mut Tx<'_>,
    records: &[&Record],
    batch: &mut together::Batch,
) -> Result<Option<Vec<Recorded>>, BoxDynError> {
    let mut seen = HashSet::with_capacity(records.len());
    if records.len() > MOST_ROWS || !records.iter().all(|it| seen.insert(it.delivery_id)) {
        return Ok(None);
    }
    let recorded_at = tx.clock.now();
    let mut rows = Rows::default();
    for record in records {
        count(tx, record.next);
        rows.add(tx.memory.next_attempt_id, record, false, recorded_at);
        tx.memory.next_attempt_id += 1;
    }
    let statements = &tx.statements.record;
    batch.change(&statements.settle_together, records, bind_settle)?;
    batch.change(&statements.attempt_together, &rows.alone, bind_attempt)?;
    batch.change(&statements.member_together, &rows.members, bind_member)?;
    batch.change(&statements.batch_together, &rows.batches, bind_batch)?;
    Ok(Some(vec![Recorded::Applied; records.len()]))
}

/// Writes the records; answers are in their order.
pub(super) async fn record(
    tx: &mut Tx<'_>,
    records: &[&Record],
) -> Result<Vec<Recorded>, sqlx::Error> {
    let mut answers = vec![Recorded::Late; records.len()];
    let mut waiting: Vec<usize> = (0..records.len()).collect();
    // One statement changes a row once: two records of one delivery, such as an expiry and the
    // outcome that came after all, take turns.
    while !waiting.is_empty() {
        let mut seen = HashSet::with_capacity(waiting.len());
        let (turn, later): (Vec<usize>, Vec<usize>) =
            waiting.into_iter().partition(|index| seen.insert(records[*index].delivery_id));
        let rows: Vec<&Record> = turn.iter().map(|index| records[*index]).collect();
        let applied = settle(tx, &rows).await?;
        for index in turn {
            if applied.as_ref().is_none_or(|ids| ids.contains(&records[index].delivery_id.0)) {
                answers[index] = Recorded::Applied;
                count(tx, records[index].next);
            }
        }
        waiting = later;
    }
    write_attempts(tx, records, &answers).await?;
    Ok(answers)
}

/// Changes the deliveries whose leases still stand; returns which, or none when all did. That is the
/// rule, and having each row told costs more than changing it: only when the number of changed rows
/// says that a lease was lost, the statement is undone and asked again, telling.
async fn settle(tx: &mut Tx<'_>, rows: &[&Record]) -> Result<Option<HashSet<i64>>, sqlx::Error> {
    let statements = &tx.statements.record;
    tx.run("SAVEPOINT settle").await?;
    let changed = statements.settle.execute(tx.conn, rows, bind_settle).await?;
    let applied = if usize::try_from(changed).ok() == Some(rows.len()) {
        None
    } else {
        tx.run("ROLLBACK TO settle").await?;
        let told = statements.settle_telling.fetch_keys(tx.conn, rows, bind_settle).await?;
        Some(told.into_iter().collect())
    };
    tx.run("RELEASE settle").await?;
    Ok(applied)
}

fn count(tx: &mut Tx<'_>, next: Next) {
    let ledger = &mut tx.memory.ledger;
    ledger.leased = ledger.leased.saturating_sub(1);
    match next {
        Next::Delivered => ledger.delivered += 1,
        Next::Retry { .. } => ledger.pending += 1,
        Next::Discarded => ledger.discarded += 1,
        Next::Dead { .. } => ledger.dead += 1,
        Next::Renewed { .. } => ledger.leased += 1,
    }
}

async fn write_attempts(
    tx: &mut Tx<'_>,
    records: &[&Record],
    answers: &[Recorded],
) -> Result<(), sqlx::Error> {
    let recorded_at = tx.clock.now();
    let mut rows = Rows::default();
    for (record, answer) in records.iter().zip(answers) {
        let late = *answer == Recorded::Late;
        if late && record.attempt.outcome == Outcome::Unknown {
            continue;
        }
        rows.add(tx.memory.next_attempt_id, record, late, recorded_at);
        tx.memory.next_attempt_id += 1;
    }
    let statements = &tx.statements.record;
    statements.attempt.execute(tx.conn, &rows.alone, bind_attempt).await?;
    statements.member.execute(tx.conn, &rows.members, bind_member).await?;
    statements.batch.execute(tx.conn, &rows.batches, bind_batch).await.map(|_| ())
}
