//! Record: attempts and what follows from each, guarded by delivery and token. The records of all
//! callers that are in one transaction are written by shared statements.

use std::collections::HashSet;

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::row::int;
use super::shape::Shaped;
use super::together::{Batch, MOST_ROWS, Padded};
use super::writer::Tx;
use crate::clock::Timestamp;
use crate::domain::attempt::Outcome;
use crate::domain::delivery::{Reason, State};
use crate::domain::retry::Next;
use crate::store::{Record, Recorded};

/// The statements.
#[derive(Debug)]
pub(super) struct Statements {
    settle: Shaped,
    settle_telling: Shaped,
    attempt: Shaped,
    settle_together: Padded,
    attempt_together: Padded,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            settle: Shaped::new(MADE, 8, SETTLE),
            settle_together: Padded::new(MADE, 8, SETTLE),
            attempt_together: Padded::insert(ATTEMPT, 19),
            settle_telling: Shaped::new(MADE, 8, &format!("{SETTLE} RETURNING id")),
            attempt: Shaped::new(&format!("{ATTEMPT} VALUES "), 19, ""),
        }
    }
}

const ATTEMPT: &str = "INSERT INTO attempts (id, delivery_id, number, late, recorded_at, node_id,
    revision_id, started_at, duration_us, outcome, status, error, console, url, request_headers,
    body_sha256, response_headers, response_body, response_truncated)";
const MADE: &str = "WITH made (id, token, state, due_at, settled_at, reason, outcome, status)
    AS (VALUES ";
const SETTLE: &str = ")
    UPDATE deliveries AS d SET state = made.state, due_at = made.due_at,
        settled_at = made.settled_at, reason = made.reason,
        lease_node_id = NULL, lease_expires_at = NULL, tried = d.tried + 1,
        last_outcome = made.outcome, last_status = made.status
    FROM made WHERE d.id = made.id AND d.token = made.token AND d.state = 'leased'";

/// What a delivery becomes.
struct Change {
    state: State,
    due_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    reason: Option<Reason>,
}

impl Change {
    fn of(record: &Record) -> Self {
        let attempt = &record.attempt;
        let ended_at = attempt.started_at + std::time::Duration::from_micros(attempt.duration_us);
        match record.next {
            Next::Delivered => Self {
                state: State::Delivered,
                due_at: None,
                settled_at: Some(ended_at),
                reason: None,
            },
            Next::Retry { due_at } => {
                Self { state: State::Pending, due_at: Some(due_at), settled_at: None, reason: None }
            }
            Next::Discarded => Self {
                state: State::Discarded,
                due_at: None,
                settled_at: Some(ended_at),
                reason: None,
            },
            Next::Dead { reason } => Self {
                state: State::Dead,
                due_at: None,
                settled_at: Some(ended_at),
                reason: Some(reason),
            },
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
    to.add(record.attempt.status.map(i64::from))
}

struct AttemptRow<'a> {
    id: i64,
    late: bool,
    recorded_at: Timestamp,
    record: &'a Record,
}

fn bind_attempt(row: &AttemptRow<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
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
    to.add(made.console.as_deref())?;
    to.add(made.url.as_str())?;
    to.add(made.request_headers.as_str())?;
    to.add(made.body_sha256.as_ref().map(|digest| &digest[..]))?;
    to.add(made.response_headers.as_str())?;
    to.add(&made.response_body[..])?;
    to.add(row.response_truncated())
}

impl AttemptRow<'_> {
    fn response_truncated(&self) -> bool {
        self.record.attempt.response_truncated
    }
}

/// Adds the records to a batch on the assumption that every lease still stands; answers are in their
/// order. None when that cannot be, or they are too many: they have to go the long way.
pub(super) fn foresee(
    tx: &mut Tx<'_>,
    records: &[&Record],
    batch: &mut Batch,
) -> Result<Option<Vec<Recorded>>, BoxDynError> {
    let mut seen = HashSet::with_capacity(records.len());
    if records.len() > MOST_ROWS || !records.iter().all(|it| seen.insert(it.delivery_id)) {
        return Ok(None);
    }
    let recorded_at = tx.clock.now();
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        count(tx, record.next);
        let id = tx.memory.next_attempt_id;
        tx.memory.next_attempt_id += 1;
        rows.push(AttemptRow { id, late: false, recorded_at, record });
    }
    let statements = &tx.statements.record;
    batch.change(&statements.settle_together, records, bind_settle)?;
    batch.change(&statements.attempt_together, &rows, bind_attempt)?;
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
    }
}

async fn write_attempts(
    tx: &mut Tx<'_>,
    records: &[&Record],
    answers: &[Recorded],
) -> Result<(), sqlx::Error> {
    let recorded_at = tx.clock.now();
    let mut rows = Vec::with_capacity(records.len());
    for (record, answer) in records.iter().zip(answers) {
        let late = *answer == Recorded::Late;
        if late && record.attempt.outcome == Outcome::Unknown {
            continue;
        }
        rows.push(AttemptRow { id: tx.memory.next_attempt_id, late, recorded_at, record });
        tx.memory.next_attempt_id += 1;
    }
    tx.statements.record.attempt.execute(tx.conn, &rows, bind_attempt).await.map(|_| ())
}
