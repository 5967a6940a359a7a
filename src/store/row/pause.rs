//! Rows of pauses and of receivers' waits.

use serde_json::{Value, json};

use super::{Columns, Row, foreign};
use crate::domain::id::MappingId;
use crate::domain::pause::{Pause, PauseCause, PauseState, PauseTarget};
use crate::store::ReceiverWait;
use crate::store::failure::Failure;

/// The rows of [`pause`].
pub(crate) const PAUSES: &str =
    "SELECT kind, subject_id, state, rate_per_second, changed_at, resumed_at, changed_by, cause,
        note
     FROM pauses ORDER BY kind, subject_id";

/// The rows of [`receiver_wait`].
pub(crate) const RECEIVER_WAITS: &str =
    "SELECT mapping_id, until_at FROM receiver_waits ORDER BY mapping_id";

/// A row of [`PAUSES`].
pub(crate) fn pause<'a>(row: impl Into<Row<'a>>) -> Result<Pause, Failure> {
    let mut from = Columns::from(row, 0);
    let (kind, key): (String, i64) = (from.take()?, from.take()?);
    let target = PauseTarget::parse(&kind, key).ok_or_else(|| foreign("the pause of", &kind))?;
    let state = pause_state(&mut from)?;
    let (changed_at, resumed_at) = (from.at()?, from.maybe_service_at()?);
    let changed_by = from.take()?;
    let word = from.text()?;
    let cause = PauseCause::parse(word).ok_or_else(|| foreign("the cause of a pause", word))?;
    Ok(Pause { target, state, changed_at, resumed_at, changed_by, cause, note: from.take()? })
}

/// The next two columns as the state of a pause.
pub(crate) fn pause_state(from: &mut Columns<'_>) -> Result<PauseState, Failure> {
    let word: String = from.take()?;
    let state = PauseState::parse(&word, from.maybe_small()?);
    state.ok_or_else(|| foreign("the state of a pause", &word))
}

/// A row of [`RECEIVER_WAITS`].
pub(crate) fn receiver_wait<'a>(row: impl Into<Row<'a>>) -> Result<ReceiverWait, Failure> {
    let mut from = Columns::from(row, 0);
    Ok(ReceiverWait { mapping_id: MappingId(from.take()?), until: from.service_at()? })
}

/// The column `rate_per_second`.
pub(crate) const fn drain_rate(state: PauseState) -> Option<u32> {
    match state {
        PauseState::Draining { per_second } => Some(per_second),
        PauseState::Paused | PauseState::Resumed => None,
    }
}

/// A state in the audit log.
pub(crate) fn pause_entry(state: PauseState) -> Value {
    match state {
        PauseState::Draining { per_second } => {
            json!({"state": state.as_str(), "rate_per_second": per_second})
        }
        PauseState::Paused | PauseState::Resumed => json!({"state": state.as_str()}),
    }
}
