//! Rows that operators ask for beside lists: attempts with their deliveries, test sends, alerts, groups of dead letters,
//! idempotent requests.

use bytes::Bytes;

use super::{Columns, Row, attempt, count, foreign, status, word};
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Reason;
use crate::domain::id::{DestinationId, EventId, MappingId, NodeId, RevisionId};
use crate::store::failure::Failure;
use crate::store::{AttemptRow, DeadLetterGroup, IdempotencyState, TestSend, TestSendRow};

/// How many columns [`super::ATTEMPT_COLUMNS`] are.
const ATTEMPT_COLUMN_COUNT: usize = 23;

/// An attempt's columns, then its delivery's mapping, destination and time.
pub(crate) fn attempt_row<'a>(row: impl Into<Row<'a>>) -> Result<AttemptRow, Failure> {
    let row = row.into();
    let mut from = Columns::from(row, ATTEMPT_COLUMN_COUNT);
    Ok(AttemptRow {
        attempt: attempt(row)?,
        mapping_id: MappingId(from.take()?),
        destination_id: DestinationId(from.take()?),
        accepted_at: from.at()?,
    })
}

/// An alert: kind, subject, detail, times, and whether it was published.
pub(crate) fn alert<'a>(row: impl Into<Row<'a>>) -> Result<Alert, Failure> {
    let mut from = Columns::from(row, 0);
    let kind = from.text()?;
    Ok(Alert {
        kind: AlertKind::parse(kind).ok_or_else(|| foreign("the alert", kind))?,
        subject: from.take()?,
        detail: from.take()?,
        raised_at: from.at()?,
        cleared_at: from.maybe_at()?,
        published: from.take()?,
    })
}

/// A group of dead letters: its oldest and newest time, and how many were counted, at most one more than `counted`.
pub(crate) fn dead_letter_group<'a>(
    row: impl Into<Row<'a>>,
    (destination_id, reason): (i64, &str),
    counted: i64,
) -> Result<DeadLetterGroup, Failure> {
    let mut from = Columns::from(row, 0);
    let (oldest_at, newest_at, found) = (from.at()?, from.at()?, from.take::<i64>()?);
    Ok(DeadLetterGroup {
        destination_id: DestinationId(destination_id),
        reason: word("the reason", reason, Reason::parse)?,
        count: count(found.min(counted)),
        more: found > counted,
        oldest_at,
        newest_at,
    })
}

/// What an idempotency key was used for before a request with this fingerprint.
pub(crate) fn idempotency_state<'a>(
    row: impl Into<Row<'a>>,
    fingerprint: &[u8; 32],
    process: Timestamp,
) -> Result<IdempotencyState, Failure> {
    let mut from = Columns::from(row, 0);
    let found: [u8; 32] = from.bytes("a request's fingerprint")?;
    let begun_by = from.at()?;
    if found != *fingerprint {
        return Ok(IdempotencyState::Mismatch);
    }
    if from.take()? {
        return Ok(IdempotencyState::Completed(from.sealed()?));
    }
    Ok(if begun_by == process {
        IdempotencyState::InProgress
    } else {
        IdempotencyState::Interrupted
    })
}

/// A mapping's test send: its id, its event's, and its attempt.
pub(crate) fn test_send<'a>(
    row: impl Into<Row<'a>>,
    mapping_id: MappingId,
) -> Result<TestSendRow, Failure> {
    let mut from = Columns::from(row, 0);
    let id = from.take()?;
    let event_id = from.take::<Option<i64>>()?.map(EventId);
    let attempt = test_attempt(&mut from)?;
    Ok(TestSendRow { id, test: TestSend { mapping_id, event_id, attempt } })
}

fn test_attempt(from: &mut Columns<'_>) -> Result<NewAttempt, Failure> {
    let (node_id, revision_id) = (NodeId(from.take()?), RevisionId(from.take()?));
    let (started_at, duration_us) = (from.at()?, count(from.take()?));
    let outcome = word("the outcome", from.text()?, Outcome::parse)?;
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
