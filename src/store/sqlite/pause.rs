//! Pauses and receivers' waits: small tables beside the pipeline, changed without its version.

use rusqlite::params;
use serde_json::json;

use super::audit;
use super::writer::step::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::domain::pause::{PauseCause, PauseState, PauseTarget};
use crate::domain::service_time::ServiceTime;
use crate::store::StoreError;
use crate::store::failure::Failure;
use crate::store::row::{Columns, drain_rate, pause_entry, pause_state};

const READ: &str = "SELECT state, rate_per_second FROM pauses WHERE kind = ? AND subject_id = ?";
const PUT: &str = "INSERT INTO pauses
        (kind, subject_id, state, rate_per_second, changed_at, changed_by, cause, note, resumed_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (kind, subject_id) DO UPDATE SET state = excluded.state,
        rate_per_second = excluded.rate_per_second, changed_at = excluded.changed_at,
        changed_by = excluded.changed_by, cause = excluded.cause, note = excluded.note,
        resumed_at = coalesce(excluded.resumed_at, resumed_at)";
const DESTINATION_PATH: &str = "SELECT s.name || '/' || d.name
     FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
     WHERE d.id = ? AND d.removed_at IS NULL";
const MAPPING_PATH: &str = "SELECT s.name || '/' || d.name || '/' || m.name
     FROM mappings AS m JOIN destinations AS d ON d.id = m.destination_id
     JOIN sources AS s ON s.id = d.source_id
     WHERE m.id = ? AND m.removed_at IS NULL";

fn read(tx: &Tx<'_>, target: PauseTarget) -> Result<PauseState, Failure> {
    let found = tx.sqlite.first(READ, params![target.kind(), target.key()], |row| {
        pause_state(&mut Columns::from(row, 0))
    })?;
    Ok(found.unwrap_or(PauseState::Resumed))
}

fn path(tx: &Tx<'_>, target: PauseTarget) -> Result<String, Failure> {
    let sql = match target {
        PauseTarget::Destination(_) => DESTINATION_PATH,
        PauseTarget::Mapping(_) => MAPPING_PATH,
    };
    let found: Option<String> = tx.sqlite.first(sql, params![target.key()], |row| row.get(0))?;
    found.ok_or(Failure::Refused(StoreError::Conflict))
}

fn put(
    tx: &Tx<'_>,
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
        drain_rate(state),
        act.at.as_micros(),
        &act.actor,
        cause.as_str(),
        &act.note,
        resumed_at.map(ServiceTime::as_micros)
    ];
    tx.execute(PUT, values)?;
    Ok(())
}

/// Pauses a destination or a mapping.
#[derive(Debug)]
pub(super) struct PauseStep {
    pub(super) target: PauseTarget,
    pub(super) cause: PauseCause,
    pub(super) act: Act,
}

impl Step for PauseStep {
    type Answer = bool;
    const CONTEXT: &'static str = "pause deliveries";

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let subject = path(tx, self.target)?;
        let before = read(tx, self.target)?;
        if before == PauseState::Paused {
            return Ok(false);
        }
        put(tx, self.target, (PauseState::Paused, self.cause), &self.act)?;
        let after = json!({"state": "paused", "cause": self.cause.as_str()});
        let done = NewEntry {
            action: Action::Pause,
            subject,
            before: Some(pause_entry(before)),
            after: Some(after),
        };
        audit::append(tx, &self.act, &done)?;
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

impl Step for ResumeStep {
    type Answer = bool;
    const CONTEXT: &'static str = "resume deliveries";

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        let subject = path(tx, self.target)?;
        let before = read(tx, self.target)?;
        let wanted = self
            .per_second
            .map_or(PauseState::Resumed, |per_second| PauseState::Draining { per_second });
        match before {
            PauseState::Resumed => return Ok(false),
            PauseState::Draining { .. } if before == wanted => return Ok(false),
            // What was held, and its window, stay those of the resumption.
            PauseState::Draining { .. } => {
                let sql = "UPDATE pauses SET state = ?, rate_per_second = ?
                    WHERE kind = ? AND subject_id = ?";
                let (kind, key) = (self.target.kind(), self.target.key());
                tx.execute(sql, params![wanted.as_str(), drain_rate(wanted), kind, key])?;
            }
            PauseState::Paused => {
                put(tx, self.target, (wanted, PauseCause::Operator), &self.act)?;
            }
        }
        let (before, after) = (Some(pause_entry(before)), Some(pause_entry(wanted)));
        let done = NewEntry { action: Action::Resume, subject, before, after };
        audit::append(tx, &self.act, &done)?;
        Ok(true)
    }
}

/// Ends a drain.
#[derive(Debug)]
pub(super) struct EndDrain {
    pub(super) target: PauseTarget,
    pub(super) resumed_at: ServiceTime,
}

impl Step for EndDrain {
    type Answer = ();
    const CONTEXT: &'static str = "end the drain of held deliveries";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "UPDATE pauses SET state = 'resumed', rate_per_second = NULL
             WHERE kind = ? AND subject_id = ? AND state = 'draining' AND resumed_at = ?",
            params![self.target.kind(), self.target.key(), self.resumed_at.as_micros()],
        )?;
        Ok(())
    }
}

/// Stores or deletes the waits of mappings.
#[derive(Debug)]
pub(super) struct PutReceiverWaits {
    pub(super) mappings: Vec<MappingId>,
    pub(super) until: Option<ServiceTime>,
}

impl Step for PutReceiverWaits {
    type Answer = ();
    const CONTEXT: &'static str = "store until when receivers asked to wait";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for mapping_id in &self.mappings {
            match self.until {
                Some(until) => tx.execute(
                    "INSERT INTO receiver_waits (mapping_id, until_at) VALUES (?, ?)
                     ON CONFLICT (mapping_id) DO UPDATE SET until_at = excluded.until_at",
                    params![mapping_id.0, until.as_micros()],
                )?,
                None => tx.execute(
                    "DELETE FROM receiver_waits WHERE mapping_id = ?",
                    params![mapping_id.0],
                )?,
            };
        }
        Ok(())
    }
}
