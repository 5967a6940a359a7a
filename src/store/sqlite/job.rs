//! Jobs: redriving and discarding many deliveries, at most N rows a step. A job's selection is bounded by the
//! highest delivery key at its creation; its cursor moves in the same commit as the deliveries, so that a
//! restart resumes at the cursor.

use std::time::Instant;

use rusqlite::params;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::audit;
use super::job_selection::Selection;
use super::writer::step::{Step, Tx};
use crate::domain::audit::Action;
use crate::domain::auth::Act;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::delivery::State;
use crate::domain::id::{JobId, MappingId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::{self, JOB_COLUMNS, StoredJob, int, to_json};
use crate::store::scan_limits::PREVIEW_BUDGET;
use crate::store::stored_filter::StoredFilter;
use crate::store::{JobPreview, JobQuery, JobStep};

/// One job, in the writer's transaction.
pub(super) fn read_in(tx: &Tx<'_>, id: JobId) -> Result<Option<StoredJob>, Failure> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?");
    tx.sqlite.first(&sql, params![id.0], |row| row::job(row))
}

/// One job.
pub(super) async fn read(
    conn: &mut SqliteConnection,
    id: JobId,
) -> Result<Option<StoredJob>, Failure> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::job).transpose()
}

/// Jobs that meet all conditions, newest first.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    query: &JobQuery,
) -> Result<Vec<Job>, Failure> {
    let sql = format!(
        "SELECT {JOB_COLUMNS} FROM jobs
         WHERE id < ?1 AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR state = ?3)
         ORDER BY id DESC LIMIT ?4"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.before.map_or(i64::MAX, |cursor| cursor.key))
        .bind(query.action.map(JobAction::as_str))
        .bind(query.state.map(JobState::as_str))
        .bind(query.limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row::job(row)?.job)).collect()
}

/// What a job would select. Each scan is a query of its own and their number is limited, so that the answer
/// does not wait for a scan of the whole table.
pub(super) async fn preview(
    conn: &mut SqliteConnection,
    action: JobAction,
    filter: &JobFilter,
    sample: u32,
) -> Result<JobPreview, Failure> {
    let mut selection = Selection::of(conn, action, filter, (0, i64::MAX)).await?;
    let mut preview = JobPreview { matched: 0, more: false, sample: Vec::new() };
    let ends = Instant::now() + PREVIEW_BUDGET;
    while Instant::now() < ends {
        let Some(end) = selection.end_of_scan(conn).await? else { return Ok(preview) };
        let wanted = sample.saturating_sub(u32::try_from(preview.sample.len()).unwrap_or(sample));
        let matched = selection.matched(conn, end).await?;
        if wanted > 0 && matched > 0 {
            for found in &selection.first(conn, end, wanted).await? {
                preview.sample.push(row::delivery_row(found)?);
            }
        }
        preview.matched += matched;
        selection.after = end;
    }
    preview.more = selection.end_of_scan(conn).await?.is_some();
    Ok(preview)
}

/// Appends the audit entry of a job.
fn append_audit(tx: &mut Tx<'_>, act: &Act, action: Action, job: &Job) -> Result<(), Failure> {
    audit::append(tx, act, &row::job_entry(action, job)?)
}

/// Creates a job.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) job: NewJob,
    /// The preview that a reader counted: the writer must not wait for it.
    pub(super) counted: JobPreview,
    pub(super) act: Act,
}

impl Step for Create {
    type Answer = Job;
    const CONTEXT: &'static str = "create a job";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Job, Failure> {
        let upper_id = match self.job.action {
            JobAction::Redrive | JobAction::Discard => tx.state.next_delivery_id - 1,
            JobAction::Backfill => tx.state.next_event_id - 1,
        };
        let (asked, counted) = (&self.job, &self.counted);
        let id = tx.sqlite.insert("INSERT INTO jobs (action, filter, rate_per_second, actor, note, state, matched, more, done,
                upper_id, cursor, created_at)
             VALUES (?, ?, ?, ?, ?, 'running', ?, ?, 0, ?, 0, ?)", params![asked.action.as_str(), to_json(&StoredFilter::of(&asked.filter))?, asked.rate_per_second, &asked.actor, &asked.note, int(counted.matched), counted.more, upper_id, self.act.at.as_micros()])?;
        let job = Job {
            id: JobId(id),
            spec: asked.clone(),
            state: JobState::Running,
            matched: counted.matched,
            more: counted.more,
            done: 0,
            created_at: self.act.at,
            finished_at: None,
        };
        append_audit(tx, &self.act, row::creation(asked.action), &job)?;
        Ok(job)
    }
}

/// Runs a step of a job: acts on the deliveries that a reader selected, and moves the cursor behind them.
#[derive(Debug)]
pub(super) struct Advance {
    pub(super) selected: Selected,
    pub(super) now: Moment,
}

/// What a step acts on.
#[derive(Debug)]
pub(super) struct Selected {
    stored: StoredJob,
    deliveries: Vec<SelectedDelivery>,
    /// The job's cursor behind them.
    cursor: i64,
    /// Whether there are no more.
    is_last: bool,
}

/// A delivery as it was selected.
#[derive(Debug)]
struct SelectedDelivery {
    id: i64,
    mapping_id: MappingId,
    destination_id: i64,
    state: State,
}

/// Selects what the next step of a job acts on; none when there is no such job. On a reader: a selection may
/// scan many rows to find few, and the writer must not wait for it.
pub(super) async fn select(
    conn: &mut SqliteConnection,
    id: JobId,
    limit: u32,
) -> Result<Option<Selected>, Failure> {
    let Some(stored) = read(conn, id).await? else { return Ok(None) };
    let cursor = stored.cursor;
    let mut selected = Selected { stored, deliveries: Vec::new(), cursor, is_last: true };
    let job = &selected.stored.job;
    if job.state != JobState::Running {
        return Ok(Some(selected));
    }
    let keys = (cursor, selected.stored.upper_id);
    let mut selection = Selection::of(conn, job.spec.action, &job.spec.filter, keys).await?;
    if let Some(end) = selection.end_of_scan(conn).await? {
        for found in &selection.first(conn, end, limit).await? {
            let found = row::delivery_row(found)?.delivery;
            selected.deliveries.push(SelectedDelivery {
                id: found.id.0,
                mapping_id: found.mapping_id,
                destination_id: found.destination_id.0,
                state: found.state,
            });
        }
        let is_cut = selected.deliveries.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let last = selected.deliveries.last().filter(|_| is_cut);
        selection.after = last.map_or(end, |last| last.id);
    }
    selected.cursor = selection.after;
    selected.is_last = selection.end_of_scan(conn).await?.is_none();
    Ok(Some(selected))
}

impl Step for Advance {
    type Answer = Option<JobStep>;
    const CONTEXT: &'static str = "run a step of a job";

    fn bulk_rows(&self) -> usize {
        self.selected.deliveries.len()
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<JobStep>, Failure> {
        let Some(mut stored) = read_in(tx, self.selected.stored.job.id)? else { return Ok(None) };
        // Cancelled, or advanced by another step, since the selection.
        if stored.job.state != JobState::Running || stored.cursor != self.selected.stored.cursor {
            return Ok(Some(JobStep { job: stored.job, due: Vec::new() }));
        }
        let action = stored.job.spec.action;
        let mut due = Vec::new();
        for delivery in &self.selected.deliveries {
            let is_done = match action {
                JobAction::Redrive => redrive(tx, delivery, self.now.service)?,
                JobAction::Discard => discard(tx, delivery, self.now.wall)?,
                // It selects no deliveries: `backfill.rs`.
                JobAction::Backfill => false,
            };
            stored.job.done += u64::from(is_done);
            if is_done && action == JobAction::Redrive {
                due.push(delivery.mapping_id);
            }
        }
        stored.cursor = self.selected.cursor;
        if self.selected.is_last {
            finish(tx, &mut stored, self.now.wall)?;
        } else {
            save(tx, &stored)?;
        }
        due.sort_unstable();
        due.dedup();
        Ok(Some(JobStep { job: stored.job, due }))
    }
}

/// Ends a job that has processed all that it selected.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    stored: &mut StoredJob,
    now: Timestamp,
) -> Result<(), Failure> {
    stored.job.state = JobState::Done;
    stored.job.finished_at = Some(now);
    save(tx, stored)?;
    let act = Act::of_the_service("jobs", now);
    append_audit(tx, &act, Action::FinishJob, &stored.job)
}

/// Writes a job's progress.
pub(super) fn save(tx: &Tx<'_>, stored: &StoredJob) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE jobs SET state = ?, done = ?, cursor = ?, finished_at = ? WHERE id = ?",
        params![
            stored.job.state.as_str(),
            int(stored.job.done),
            stored.cursor,
            stored.job.finished_at.map(Timestamp::as_micros),
            stored.job.id.0,
        ],
    )?;
    Ok(())
}

/// Makes a dead letter due again; false when it has changed since the selection.
fn redrive(tx: &mut Tx<'_>, it: &SelectedDelivery, now: ServiceTime) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE deliveries SET state = 'pending', due_at = ?1, tried = 0,
            settled_at = NULL, reason = NULL,
            deadline_at = ?1 + 1000 * coalesce(
                (SELECT json_extract(settings, '$.window_ms') FROM destinations WHERE id = ?2),
                14400000)
         WHERE id = ?3 AND state = 'dead' AND EXISTS
            (SELECT 1 FROM mappings WHERE id = deliveries.mapping_id AND removed_at IS NULL)",
        params![now.as_micros(), it.destination_id, it.id],
    )?;
    tx.state.ledger.dead = tx.state.ledger.dead.saturating_sub(changed);
    tx.state.ledger.pending += changed;
    Ok(changed > 0)
}

/// Discards a delivery; false when it has changed since the selection.
fn discard(tx: &mut Tx<'_>, it: &SelectedDelivery, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE deliveries SET state = 'discarded', due_at = NULL, settled_at = ?, reason = NULL
         WHERE id = ? AND state = ? AND state IN ('pending', 'dead')",
        params![now.as_micros(), it.id, it.state.as_str()],
    )?;
    let ledger = &mut tx.state.ledger;
    match it.state {
        State::Pending => ledger.pending = ledger.pending.saturating_sub(changed),
        State::Dead => ledger.dead = ledger.dead.saturating_sub(changed),
        // Not selected, and the statement's guard leaves them alone.
        State::Leased | State::Delivered | State::Discarded => return Ok(false),
    }
    ledger.discarded += changed;
    Ok(changed > 0)
}

/// Cancels a running job.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) id: JobId,
    pub(super) act: Act,
}

impl Step for Cancel {
    type Answer = Option<Job>;
    const CONTEXT: &'static str = "cancel a job";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Job>, Failure> {
        let cancelled = tx.execute(
            "UPDATE jobs SET state = 'cancelled', finished_at = ?
             WHERE id = ? AND state = 'running'",
            params![self.act.at.as_micros(), self.id.0],
        )?;
        let job = read_in(tx, self.id)?.map(|stored| stored.job);
        if let (Some(job), 1) = (&job, cancelled) {
            append_audit(tx, &self.act, Action::CancelJob, job)?;
        }
        Ok(job)
    }
}
