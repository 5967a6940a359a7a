//! Jobs: redriving and discarding many deliveries, at most N rows a step. A job's selection is bounded by the
//! highest delivery key at its creation; its cursor moves in the same commit as the deliveries, so that a
//! restart resumes at the cursor.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::audit;
use super::job_selection::Selection;
use super::rows::text;
use super::tx::{LONG, Step, Tx, params};
use crate::domain::audit::Action;
use crate::domain::auth::Act;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{JobId, MappingId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::{self, JOB_COLUMNS, StoredJob, count, int, to_json};
use crate::store::scan_limits::PREVIEW_BUDGET;
use crate::store::stored_filter::StoredFilter;
use crate::store::{JobPreview, JobQuery, JobStep};
use async_trait::async_trait;

/// One job, in a step that may change it.
pub(super) async fn read_in(tx: &mut Tx<'_>, id: JobId) -> Result<Option<StoredJob>, Failure> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = $1 FOR UPDATE");
    tx.first(AssertSqlSafe(sql), params![id.0], |row| row::job(row)).await
}

/// One job.
pub(super) async fn read(conn: &mut PgConnection, id: JobId) -> Result<Option<StoredJob>, Failure> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::job).transpose()
}

/// Jobs that meet all conditions, newest first.
pub(super) async fn list(conn: &mut PgConnection, query: &JobQuery) -> Result<Vec<Job>, Failure> {
    let sql = format!(
        "SELECT {JOB_COLUMNS} FROM jobs
         WHERE id < $1 AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR state = $3)
         ORDER BY id DESC LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.before.map_or(i64::MAX, |cursor| cursor.key))
        .bind(query.action.map(JobAction::as_str))
        .bind(query.state.map(JobState::as_str))
        .bind(i64::from(query.limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row::job(row)?.job)).collect()
}

/// What a job would select. Each scan is a query of its own and their number is limited, so that the answer
/// does not wait for a scan of the whole table.
pub(super) async fn preview(
    conn: &mut PgConnection,
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
async fn append_audit(
    tx: &mut Tx<'_>,
    act: &Act,
    action: Action,
    job: &Job,
) -> Result<(), Failure> {
    audit::append(tx, act, &row::job_entry(action, job)?).await
}

/// Creates a job.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) job: NewJob,
    /// The preview that a reader counted: the writer must not wait for it.
    pub(super) counted: JobPreview,
    pub(super) act: Act,
}

#[async_trait]
impl Step for Create {
    type Answer = Job;
    const CONTEXT: &'static str = "create a job";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Job, Failure> {
        let upper_id = tx.keys.next();
        let (asked, counted) = (&self.job, &self.counted);
        let id = tx
            .one(
                "INSERT INTO jobs (action, filter, rate_per_second, actor, note, state, matched, more,
                    done, upper_id, cursor, created_at)
                 VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, 0, $8, 0, $9) RETURNING id",
                params![
                    asked.action.as_str(),
                    to_json(&StoredFilter::of(&asked.filter))?,
                    asked.rate_per_second.map(i64::from),
                    text(&asked.actor).as_ref(),
                    asked.note.as_deref().map(text).as_deref(),
                    int(counted.matched),
                    counted.more,
                    upper_id,
                    self.act.at.as_micros(),
                ],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
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
        append_audit(tx, &self.act, row::creation(asked.action), &job).await?;
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
    deliveries: Vec<i64>,
    /// The job's cursor behind them.
    cursor: i64,
    /// Whether there are no more.
    is_last: bool,
}

/// Selects what the next step of a job acts on; none when there is no such job. On a reader: a selection may
/// scan many rows to find few, and the writer must not wait for it.
pub(super) async fn select(
    conn: &mut PgConnection,
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
            selected.deliveries.push(row::delivery_row(found)?.delivery.id.0);
        }
        let is_cut = selected.deliveries.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let last = selected.deliveries.last().filter(|_| is_cut);
        selection.after = last.copied().unwrap_or(end);
    }
    selected.cursor = selection.after;
    selected.is_last = selection.end_of_scan(conn).await?.is_none();
    Ok(Some(selected))
}

#[async_trait]
impl Step for Advance {
    type Answer = Option<JobStep>;
    const CONTEXT: &'static str = "run a step of a job";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<JobStep>, Failure> {
        let Some(mut stored) = read_in(tx, self.selected.stored.job.id).await? else {
            return Ok(None);
        };
        // Cancelled, or advanced by another step, since the selection.
        if stored.job.state != JobState::Running || stored.cursor != self.selected.stored.cursor {
            return Ok(Some(JobStep { job: stored.job, due: Vec::new() }));
        }
        let deliveries = &self.selected.deliveries;
        let mut due = match stored.job.spec.action {
            JobAction::Redrive => {
                redrive(tx, deliveries, self.now.service, &mut stored.job.done).await?
            }
            JobAction::Discard => {
                discard(tx, deliveries, self.now.wall, &mut stored.job.done).await?
            }
            // It selects no deliveries: `backfill.rs`.
            JobAction::Backfill => Vec::new(),
        };
        stored.cursor = self.selected.cursor;
        if self.selected.is_last {
            finish(tx, &mut stored, self.now.wall).await?;
        } else {
            save(tx, &stored).await?;
        }
        due.sort_unstable();
        due.dedup();
        Ok(Some(JobStep { job: stored.job, due }))
    }
}

/// Ends a job that has processed all that it selected.
pub(super) async fn finish(
    tx: &mut Tx<'_>,
    stored: &mut StoredJob,
    now: Timestamp,
) -> Result<(), Failure> {
    stored.job.state = JobState::Done;
    stored.job.finished_at = Some(now);
    save(tx, stored).await?;
    let act = Act::of_the_service("jobs", now);
    append_audit(tx, &act, Action::FinishJob, &stored.job).await
}

/// Writes a job's progress.
pub(super) async fn save(tx: &mut Tx<'_>, stored: &StoredJob) -> Result<(), Failure> {
    tx.execute(
        "UPDATE jobs SET state = $1, done = $2, cursor = $3, finished_at = $4 WHERE id = $5",
        params![
            stored.job.state.as_str(),
            int(stored.job.done),
            stored.cursor,
            stored.job.finished_at.map(Timestamp::as_micros),
            stored.job.id.0,
        ],
    )
    .await?;
    Ok(())
}

/// Moves dead letters of mappings that are not removed to `pending`, in a fresh window.
const REDRIVE: &str = "WITH picked AS MATERIALIZED (
        SELECT d.at FROM unnest($1::bigint[]) AS g (id) CROSS JOIN LATERAL
            (SELECT ctid AS at FROM dead WHERE dead.id = g.id AND EXISTS
                (SELECT 1 FROM mappings AS m WHERE m.id = dead.mapping_id AND m.removed_at IS NULL)
             FOR UPDATE) AS d
     ), taken AS (
        DELETE FROM dead WHERE ctid = ANY (ARRAY (SELECT at FROM picked)) RETURNING *
     ), revived AS (
        INSERT INTO pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, due_at)
        SELECT t.id, t.event_id, t.mapping_id, t.destination_id, t.accepted_at,
            $2::bigint + 1000 * coalesce((SELECT (settings::json ->> 'window_ms')::bigint
                FROM destinations AS d WHERE d.id = t.destination_id), 14400000),
            t.token, 0, t.last_outcome, t.last_status, $2::bigint
        FROM taken AS t
     )
     SELECT mapping_id FROM taken";

/// Moves deliveries from `pending` or `dead` to `settled`.
const DISCARD: &str = "WITH dying AS MATERIALIZED (
        SELECT p.at FROM unnest($1::bigint[]) AS g (id) CROSS JOIN LATERAL
            (SELECT ctid AS at FROM pending WHERE pending.id = g.id FOR UPDATE) AS p
     ), dead_ones AS MATERIALIZED (
        SELECT d.at FROM unnest($1::bigint[]) AS g (id) CROSS JOIN LATERAL
            (SELECT ctid AS at FROM dead WHERE dead.id = g.id FOR UPDATE) AS d
     ), from_pending AS (
        DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT at FROM dying))
        RETURNING id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status
     ), from_dead AS (
        DELETE FROM dead WHERE ctid = ANY (ARRAY (SELECT at FROM dead_ones))
        RETURNING id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status
     ), discarded AS (
        INSERT INTO settled (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, settled_at, state)
        SELECT u.*, $2::bigint, 'discarded'
        FROM (SELECT * FROM from_pending UNION ALL SELECT * FROM from_dead) AS u
     )
     SELECT (SELECT count(*) FROM from_pending), (SELECT count(*) FROM from_dead)";

/// Makes dead letters due again, unless they have changed since the selection; returns their mappings.
async fn redrive(
    tx: &mut Tx<'_>,
    selected: &[i64],
    now: ServiceTime,
    done: &mut u64,
) -> Result<Vec<MappingId>, Failure> {
    let due = tx
        .all(REDRIVE, params![selected, now.as_micros()], |row| Ok(MappingId(row.try_get(0)?)))
        .await?;
    *done += due.len() as u64;
    tx.counts.ledger.dead -= int(due.len() as u64);
    tx.counts.ledger.pending += int(due.len() as u64);
    Ok(due)
}

/// Discards deliveries, unless they have changed since the selection; none is due.
async fn discard(
    tx: &mut Tx<'_>,
    selected: &[i64],
    now: Timestamp,
    done: &mut u64,
) -> Result<Vec<MappingId>, Failure> {
    let (pending, dead): (i64, i64) = tx
        .one(DISCARD, params![selected, now.as_micros()], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?))
        })
        .await?;
    *done += count(pending + dead);
    tx.counts.ledger.pending -= pending;
    tx.counts.ledger.dead -= dead;
    tx.counts.ledger.discarded += pending + dead;
    Ok(Vec::new())
}

/// Cancels a running job.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) id: JobId,
    pub(super) act: Act,
}

#[async_trait]
impl Step for Cancel {
    type Answer = Option<Job>;
    const CONTEXT: &'static str = "cancel a job";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Job>, Failure> {
        let cancelled = tx
            .execute(
                "UPDATE jobs SET state = 'cancelled', finished_at = $1
             WHERE id = $2 AND state = 'running'",
                params![self.act.at.as_micros(), self.id.0],
            )
            .await?;
        let job = read_in(tx, self.id).await?.map(|stored| stored.job);
        if let (Some(job), 1) = (&job, cancelled) {
            append_audit(tx, &self.act, Action::CancelJob, job).await?;
        }
        Ok(job)
    }
}
