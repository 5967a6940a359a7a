//! Rows of jobs.

use super::{Columns, Row, count, foreign, from_json, small, to_json};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::id::{JobId, Noun, PublicId};
use crate::domain::job::{Job, JobAction, JobState, NewJob};
use crate::store::failure::Failure;
use crate::store::stored_filter::StoredFilter;

/// A job with its cursor and bound.
#[derive(Debug)]
pub(crate) struct StoredJob {
    pub(crate) job: Job,
    pub(crate) upper_id: i64,
    pub(crate) cursor: i64,
}

/// The columns that [`job`] reads.
pub(crate) const JOB_COLUMNS: &str = "id, action, filter, rate_per_second, actor, note, state, matched, more, done, \
     created_at, finished_at, upper_id, cursor";

/// A row of [`JOB_COLUMNS`].
pub(crate) fn job<'a>(row: impl Into<Row<'a>>) -> Result<StoredJob, Failure> {
    let mut from = Columns::from(row, 0);
    let id = JobId(from.take()?);
    let word = from.text()?;
    let action = JobAction::parse(word).ok_or_else(|| foreign("the job action", word))?;
    let filter: StoredFilter = from_json("a job's filter", from.text()?)?;
    let asked = NewJob {
        action,
        filter: filter.into_filter(),
        rate_per_second: from.take::<Option<i64>>()?.map(small),
        actor: from.take()?,
        note: from.take()?,
    };
    let word = from.text()?;
    let state = JobState::parse(word).ok_or_else(|| foreign("the job state", word))?;
    let (matched, more) = (count(from.take()?), from.take()?);
    let done = count(from.take()?);
    let created_at = from.at()?;
    let finished_at = from.maybe_at()?;
    let job = Job { id, spec: asked, state, matched, more, done, created_at, finished_at };
    Ok(StoredJob { job, upper_id: from.take()?, cursor: from.take()? })
}

/// The audit entry of a job.
pub(crate) fn job_entry(action: Action, job: &Job) -> Result<NewEntry, Failure> {
    let filter: serde_json::Value =
        from_json("a job's filter", &to_json(&StoredFilter::of(&job.spec.filter))?)?;
    let after = serde_json::json!({
        "action": job.spec.action.as_str(),
        "filter": filter,
        "rate_per_second": job.spec.rate_per_second,
        "state": job.state.as_str(),
        "matched": job.matched,
        "done": job.done,
    });
    let subject = PublicId::new(Noun::Job, job.created_at, job.id.0).to_string();
    Ok(NewEntry { action, subject, before: None, after: Some(after) })
}

/// The action in the audit entry of a job that is created.
pub(crate) const fn creation(action: JobAction) -> Action {
    match action {
        JobAction::Redrive => Action::Redrive,
        JobAction::Discard => Action::Discard,
        JobAction::Backfill => Action::Backfill,
    }
}
