//! Pauses and receivers' waits: small tables beside the pipeline, changed without its version.

use async_trait::async_trait;
use serde_json::json;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::audit;
use super::tx::{Step, Tx, params};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::domain::pause::{PauseCause, PauseState, PauseTarget};
use crate::domain::service_time::ServiceTime;
use crate::store::StoreError;
use crate::store::failure::Failure;
use crate::store::row::{Columns, drain_rate, pause_entry, pause_state};

const READ: &str = "SELECT state, rate_per_second FROM pauses WHERE kind = $1 AND subject_id = $2";
const PUT: &str = "INSERT INTO pauses AS p
        (kind, subject_id, state, rate_per_second, changed_at, changed_by, cause, note, resumed_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (kind, subject_id) DO UPDATE SET state = excluded.state,
        rate_per_second = excluded.rate_per_second, changed_at = excluded.changed_at,
        changed_by = excluded.changed_by, cause = excluded.cause, note = excluded.note,
        resumed_at = coalesce(excluded.resumed_at, p.resumed_at)";
const DESTINATION_PATH: &str = "SELECT s.name || '/' || d.name
     FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
     WHERE d.id = $1 AND d.removed_at IS NULL FOR UPDATE OF d";
const MAPPING_PATH: &str = "SELECT s.name || '/' || d.name || '/' || m.name
     FROM mappings AS m JOIN destinations AS d ON d.id = m.destination_id
     JOIN sources AS s ON s.id = d.source_id
     WHERE m.id = $1 AND m.removed_at IS NULL FOR UPDATE OF m";

async fn read(tx: &mut Tx<'_>, target: PauseTarget) -> Result<PauseState, Failure> {
    let read = |row: &PgRow| pause_state(&mut Columns::from(row, 0));
    let found = tx.first(READ, params![target.kind(), target.key()], read).await?;
    Ok(found.unwrap_or(PauseState::Resumed))
}

/// The path of what is not removed. Locks it: of two who pause or resume it, the second sees what the first did.
async fn path(tx: &mut Tx<'_>, target: PauseTarget) -> Result<String, Failure> {
    let sql = match target {
        PauseTarget::Destination(_) => DESTINATION_PATH,
        PauseTarget::Mapping(_) => MAPPING_PATH,
    };
    let found: Option<String> =
        tx.first(sql, params![target.key()], |row| Ok(row.try_get(0)?)).await?;
    found.ok_or(Failure::Refused(StoreError::Conflict))
}

async fn put(
    tx: &mut Tx<'_>,
    target: PauseTarget,
    (state, cause): (PauseState, PauseCause),
    act: &Act,
) -> Result<(), Failure> {
    let resumed_at = match state {
        PauseState::Paused => None,
        PauseState::Draining { .. } | PauseState::Resumed => Some(tx.clock.service_now()),
    };
    let values = params![
        target.kind(),
        target.key(),
        state.as_str(),
        drain_rate(state).map(i64::from),
        act.at.as_micros(),
        act.actor.as_str(),
        cause.as_str(),
        act.note.as_deref(),
        resumed_at.map(ServiceTime::as_micros)
    ];
    tx.execute(PUT, values).await?;
    Ok(())
}

/// Pauses a destination or a mapping.
#[derive(Debug)]
pub(super) struct PauseStep {
    pub(super) target: PauseTarget,
    pub(super) cause: PauseCause,
    pub(super) act: Act,
}

#[async_trait]
impl Step for PauseStep {
    type Answer = bool;
    const CONTEXT: &'static str = "pause deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let subject = path(tx, self.target).await?;
        let before = read(tx, self.target).await?;
        if before == PauseState::Paused {
            return Ok(false);
        }
        put(tx, self.target, (PauseState::Paused, self.cause), &self.act).await?;
        let after = json!({"state": "paused", "cause": self.cause.as_str()});
        let done = NewEntry {
            action: Action::Pause,
            subject,
            before: Some(pause_entry(before)),
            after: Some(after),
        };
        audit::append(tx, &self.act, &done).await?;
        Ok(true)
    }
}

/// Ends a pause, or changes or ends the rate at which what was held drains.
#[derive(Debug)]
pub(super) struct ResumeStep {
    pub(super) target: PauseTarget,
    pub(super) per_second: Option<u32>,
    pub(super) act: Act,
}

#[async_trait]
impl Step for ResumeStep {
    type Answer = bool;
    const CONTEXT: &'static str = "resume deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let subject = path(tx, self.target).await?;
        let before = read(tx, self.target).await?;
        let wanted = self
            .per_second
            .map_or(PauseState::Resumed, |per_second| PauseState::Draining { per_second });
        match before {
            PauseState::Resumed => return Ok(false),
            PauseState::Draining { .. } if before == wanted => return Ok(false),
            // What was held, and its window, stay those of the resumption.
            PauseState::Draining { .. } => {
                let sql = "UPDATE pauses SET state = $1, rate_per_second = $2
                    WHERE kind = $3 AND subject_id = $4";
                let (kind, key) = (self.target.kind(), self.target.key());
                let values = params![wanted.as_str(), drain_rate(wanted).map(i64::from), kind, key];
                tx.execute(sql, values).await?;
            }
            PauseState::Paused => {
                put(tx, self.target, (wanted, PauseCause::Operator), &self.act).await?;
            }
        }
        let (before, after) = (Some(pause_entry(before)), Some(pause_entry(wanted)));
        let done = NewEntry { action: Action::Resume, subject, before, after };
        audit::append(tx, &self.act, &done).await?;
        Ok(true)
    }
}

/// Ends a drain.
#[derive(Debug)]
pub(super) struct EndDrain {
    pub(super) target: PauseTarget,
    pub(super) resumed_at: ServiceTime,
}

#[async_trait]
impl Step for EndDrain {
    type Answer = ();
    const CONTEXT: &'static str = "end the drain of held deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "UPDATE pauses SET state = 'resumed', rate_per_second = NULL
             WHERE kind = $1 AND subject_id = $2 AND state = 'draining' AND resumed_at = $3",
            params![self.target.kind(), self.target.key(), self.resumed_at.as_micros()],
        )
        .await?;
        Ok(())
    }
}

/// Stores or deletes the waits of mappings.
#[derive(Debug)]
pub(super) struct PutReceiverWaits {
    pub(super) mappings: Vec<MappingId>,
    pub(super) until: Option<ServiceTime>,
}

#[async_trait]
impl Step for PutReceiverWaits {
    type Answer = ();
    const CONTEXT: &'static str = "store until when receivers asked to wait";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let ids: Vec<i64> = self.mappings.iter().map(|id| id.0).collect();
        match self.until {
            Some(until) => {
                tx.execute(
                    "INSERT INTO receiver_waits (mapping_id, until_at)
                     SELECT DISTINCT id, $2::bigint FROM unnest($1::bigint[]) AS g (id) ORDER BY id
                     ON CONFLICT (mapping_id) DO UPDATE SET until_at = greatest(receiver_waits.until_at, excluded.until_at)",
                    params![ids, until.as_micros()],
                )
                .await?
            }
            None => {
                let sql = "DELETE FROM receiver_waits WHERE mapping_id = ANY ($1)";
                tx.execute(sql, params![ids]).await?
            }
        };
        Ok(())
    }
}
