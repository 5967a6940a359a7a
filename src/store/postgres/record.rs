//! Record: attempts and the state changes that follow, guarded by delivery and fencing token. A delivery leaves
//! `leased` for the table of its next state in one statement.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::counts::Counts;
use super::keys::KeyGenerator;
use super::ledger::LedgerChange;
use super::rows::NewRows;
use super::siblings::{self, Winner};
use crate::domain::attempt::{Batch, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::destination::DeliveryPolicy;
use crate::domain::retry::Next;
use crate::store::failure::Failure;
use crate::store::row::{headers, int};
use crate::store::{Record, Recorded};

/// Takes deliveries out of `leased` whose token is still the record's, and puts each where it goes. Each is found by
/// its key: the writers' sessions have no other way to join.
const MOVE: &str = "WITH moved AS MATERIALIZED (
        DELETE FROM leased AS l
        USING unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
            $7::text[], $8::bigint[], $9::bigint[])
            AS g (id, token, state, due_at, settled_at, reason, outcome, status, tries)
        WHERE l.id = g.id AND l.token = g.token
        RETURNING l.id, l.event_id, l.mapping_id, l.destination_id, l.accepted_at, l.deadline_at,
            l.token, l.tried + g.tries AS tried, g.outcome, g.status, g.state, g.due_at,
            g.settled_at, g.reason
     ), retried AS (
        INSERT INTO pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, due_at)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            outcome, status, due_at FROM moved WHERE state = 'pending'
     ), died AS (
        INSERT INTO dead (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
            tried, last_outcome, last_status, settled_at, reason)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            outcome, status, settled_at, reason FROM moved WHERE state = 'dead'
     ), ended AS (
        INSERT INTO settled (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, settled_at, state)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            outcome, status, settled_at, state FROM moved WHERE state IN ('delivered', 'discarded')
     )
     SELECT id, event_id, destination_id FROM moved";

/// A rejected batch keeps its leases, under the next token.
const RENEW: &str = "UPDATE leased AS l SET token = l.token + 1, lease_expires_at = g.expires_at,
        last_outcome = g.outcome, last_status = g.status
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
        AS g (id, token, expires_at, outcome, status)
     WHERE l.id = g.id AND l.token = g.token
     RETURNING l.id";

const ATTEMPTS: &str = "attempts (id, delivery_id, number, late, recorded_at, node_id, revision_id,
    started_at, duration_us, outcome, status, error, console, batch_id, url, request_headers,
    body_sha256, response_headers, response_body, response_truncated)";
const BATCHES: &str = "batches (id, size, webhook_id, status, url, request_headers, body_sha256,
    response_headers, response_body, response_truncated)";

/// What a transaction wrote: the answers in the order of the records, and a key by which it is found.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) answers: Vec<Recorded>,
    pub(super) attempt_id: Option<i64>,
}

/// Applies the records; their attempts are written with the counts.
pub(super) async fn record(
    conn: &mut PgConnection,
    records: &[&Record],
    (keys, recorded_at): (&KeyGenerator, Timestamp),
    counts: &mut Counts,
) -> Result<Written, Failure> {
    let mut answers = vec![Recorded::Late; records.len()];
    let mut winners = Vec::new();
    for round in rounds(records) {
        let held = renew(conn, records, &round).await?;
        let moved = move_on(conn, records, &round).await?;
        for index in round {
            let record = records[index];
            let id = record.delivery_id.0;
            let found = moved.get(&id);
            if found.is_none() && !held.contains(&id) {
                continue;
            }
            answers[index] = Recorded::Applied;
            count(&mut counts.ledger, record.next);
            if let (Some((event_id, destination_id)), DeliveryPolicy::Any, Next::Delivered) =
                (found, record.policy, record.next)
            {
                let settled_at = ended_at(record).as_micros();
                winners.push(Winner {
                    id,
                    event_id: *event_id,
                    destination_id: *destination_id,
                    settled_at,
                });
            }
        }
    }
    siblings::settle(conn, winners, counts).await?;
    for (record, answer) in
        records.iter().zip(&answers).filter(|(it, answer)| is_kept(it, **answer))
    {
        counts.statistics.recorded(record, *answer == Recorded::Applied);
    }
    let attempt_id = add_attempts(records, &answers, (keys, recorded_at), counts);
    Ok(Written { answers, attempt_id })
}

/// The records by delivery: no two of a round are of one. In the order of keys, so that two transactions
/// which lock the same rows do not wait for each other.
fn rounds(records: &[&Record]) -> Vec<Vec<usize>> {
    let mut seen: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        seen.entry(record.delivery_id.0).or_default().push(index);
    }
    let most = seen.values().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .map(|round| seen.values().filter_map(|all| all.get(round).copied()).collect())
        .collect()
}

async fn renew(
    conn: &mut PgConnection,
    records: &[&Record],
    round: &[usize],
) -> Result<HashSet<i64>, Failure> {
    let (mut ids, mut tokens, mut expiries) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outcomes, mut statuses) = (Vec::new(), Vec::new());
    for record in round.iter().map(|index| records[*index]) {
        if let Next::Renewed { lease_expires_at } = record.next {
            ids.push(record.delivery_id.0);
            tokens.push(i64::from(record.token));
            expiries.push(lease_expires_at.as_micros());
            outcomes.push(record.attempt.outcome.as_str());
            statuses.push(record.attempt.status.map(i64::from));
        }
    }
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let held: Vec<i64> = sqlx::query_scalar(RENEW)
        .bind(ids)
        .bind(tokens)
        .bind(expiries)
        .bind(outcomes)
        .bind(statuses)
        .fetch_all(conn)
        .await?;
    Ok(held.into_iter().collect())
}

/// The new states of deliveries, a column each.
#[derive(Default)]
struct Changes {
    ids: Vec<i64>,
    tokens: Vec<i64>,
    states: Vec<&'static str>,
    due: Vec<Option<i64>>,
    settled: Vec<Option<i64>>,
    reasons: Vec<Option<&'static str>>,
    outcomes: Vec<&'static str>,
    statuses: Vec<Option<i64>>,
    tries: Vec<i64>,
}

impl Changes {
    fn push(&mut self, record: &Record) {
        let ended_at = Some(ended_at(record).as_micros());
        let (state, due_at, settled_at, reason) = match record.next {
            Next::Delivered => (State::Delivered, None, ended_at, None),
            Next::Discarded => (State::Discarded, None, ended_at, None),
            Next::Dead { reason } => (State::Dead, None, ended_at, Some(reason)),
            Next::Retry { due_at } => (State::Pending, Some(due_at.as_micros()), None, None),
            Next::Renewed { .. } => return,
        };
        self.ids.push(record.delivery_id.0);
        self.tokens.push(i64::from(record.token));
        self.states.push(state.as_str());
        self.due.push(due_at);
        self.settled.push(settled_at);
        self.reasons.push(reason.map(Reason::as_str));
        self.outcomes.push(record.attempt.outcome.as_str());
        self.statuses.push(record.attempt.status.map(i64::from));
        // An attempt of unknown outcome may never have been sent.
        self.tries.push(i64::from(record.attempt.outcome != Outcome::Unknown));
    }
}

/// The event and destination of each delivery that was moved.
async fn move_on(
    conn: &mut PgConnection,
    records: &[&Record],
    round: &[usize],
) -> Result<BTreeMap<i64, (i64, i64)>, Failure> {
    let mut changes = Changes::default();
    for index in round {
        changes.push(records[*index]);
    }
    if changes.ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(MOVE)
        .bind(changes.ids)
        .bind(changes.tokens)
        .bind(changes.states)
        .bind(changes.due)
        .bind(changes.settled)
        .bind(changes.reasons)
        .bind(changes.outcomes)
        .bind(changes.statuses)
        .bind(changes.tries)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

fn ended_at(record: &Record) -> Timestamp {
    let attempt = &record.attempt;
    attempt.started_at + std::time::Duration::from_micros(attempt.duration_us)
}

fn count(ledger: &mut LedgerChange, next: Next) {
    ledger.leased -= 1;
    match next {
        Next::Delivered => ledger.delivered += 1,
        Next::Retry { .. } => ledger.pending += 1,
        Next::Discarded => ledger.discarded += 1,
        Next::Dead { .. } => ledger.dead += 1,
        Next::Renewed { .. } => ledger.leased += 1,
    }
}

/// The headers of one row, packed.
fn packed(text: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    headers::pack(text, &mut packed);
    packed
}

/// Whether the attempt of a record is kept: a late one of unknown outcome is not.
fn is_kept(record: &Record, answer: Recorded) -> bool {
    answer == Recorded::Applied || record.attempt.outcome != Outcome::Unknown
}

/// Adds attempts, and the batches that they were part of; returns the first one's key.
fn add_attempts(
    records: &[&Record],
    answers: &[Recorded],
    (keys, recorded_at): (&KeyGenerator, Timestamp),
    counts: &mut Counts,
) -> Option<i64> {
    let (mut attempts, mut batches) = (NewRows::default(), NewRows::default());
    let mut batch: Option<(i64, &Arc<Batch>)> = None;
    let mut first = None;
    for (record, answer) in records.iter().zip(answers) {
        let is_late = *answer == Recorded::Late;
        if !is_kept(record, *answer) {
            continue;
        }
        let id = keys.next();
        first.get_or_insert(id);
        let batch_id = record.attempt.batch.as_ref().map(|it| match batch {
            // Attempts of one batch follow each other.
            Some((id, known)) if Arc::ptr_eq(known, it) => id,
            Some(_) | None => {
                batch = Some((id, it));
                batch_row(&mut batches, id, it);
                id
            }
        });
        attempts
            .row()
            .int(id)
            .int(record.delivery_id.0)
            .int(i64::from(record.token))
            .flag(is_late)
            .int(recorded_at.as_micros());
        attempt_row(&mut attempts, &record.attempt, batch_id);
    }
    counts.rows.add(batches, BATCHES, "");
    counts.rows.add(attempts, ATTEMPTS, "");
    first
}

fn attempt_row(rows: &mut NewRows, made: &NewAttempt, batch_id: Option<i64>) {
    let alone = batch_id.is_none().then_some(made);
    rows.int(made.node_id.0)
        .int(made.revision_id.0)
        .int(made.started_at.as_micros())
        .int(int(made.duration_us))
        .text(made.outcome.as_str())
        .maybe_int(made.status.map(i64::from))
        .maybe_text(made.error.as_deref())
        .maybe_text(made.console.as_deref())
        .maybe_int(batch_id)
        .maybe_text(alone.map(|it| it.url.as_str()))
        .maybe_bytes(alone.map(|it| packed(&it.request_headers)).as_deref())
        .maybe_bytes(alone.and_then(|it| it.body_sha256.as_ref()).map(<[u8; 32]>::as_slice))
        .maybe_bytes(alone.map(|it| packed(&it.response_headers)).as_deref())
        .maybe_bytes(alone.map(|it| &it.response_body[..]))
        .maybe_flag(alone.map(|it| it.response_truncated));
}

fn batch_row(rows: &mut NewRows, id: i64, batch: &Batch) {
    rows.row()
        .int(id)
        .int(i64::from(batch.size))
        .text(&batch.webhook_id)
        .maybe_int(batch.status.map(i64::from))
        .text(&batch.url)
        .bytes(&packed(&batch.request_headers))
        .bytes(&batch.body_sha256)
        .bytes(&packed(&batch.response_headers))
        .bytes(&batch.response_body)
        .flag(batch.response_truncated);
}

/// Whether an attempt is stored.
pub(super) async fn is_stored(conn: &mut PgConnection, id: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM attempts WHERE id = $1)")
        .bind(id)
        .fetch_one(conn)
        .await
}
