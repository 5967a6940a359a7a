//! Jobs: redriving and discarding many deliveries, a bounded step at a time. What a job selects is
//! fixed when it is made by the highest delivery key of that moment; its cursor moves in the same
//! commit as the deliveries, so that a restart goes on where it stopped.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::audit;
use super::change::to_json;
use super::failure::Failure;
use super::pipeline::json;
use super::row::{self, Columns, count, foreign, int};
use super::selection::{KeptFilter, Selection};
use super::writer::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::State;
use crate::domain::id::{JobId, MappingId, Noun, PublicId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use crate::store::{JobPreview, JobQuery, JobStep};

/// Looks that are counted before a job is made.
const LOOKS: u32 = 25;

/// A job with what only the store needs.
#[derive(Debug)]
pub(super) struct StoredJob {
    pub(super) job: Job,
    upper_id: i64,
    cursor: i64,
}

const JOB_COLUMNS: &str = "id, action, filter, rate_per_second, actor, note, state, matched, more, done, \
     created_at, finished_at, upper_id, cursor";

fn read_job(row: &SqliteRow) -> Result<StoredJob, Failure> {
    let mut from = Columns::from(row, 0);
    let id = JobId(from.take()?);
    let word: &str = from.take()?;
    let action = JobAction::parse(word).ok_or_else(|| foreign("the job action", word))?;
    let filter: KeptFilter = json("a job's filter", from.take()?)?;
    let asked = NewJob {
        action,
        filter: filter.into_filter(),
        rate_per_second: from.take()?,
        actor: from.take()?,
        note: from.take()?,
    };
    let word: &str = from.take()?;
    let state = JobState::parse(word).ok_or_else(|| foreign("the job state", word))?;
    let (matched, more) = (count(from.take()?), from.take()?);
    let done = count(from.take()?);
    let created_at = from.at()?;
    let finished_at = from.maybe_at()?;
    let job = Job { id, asked, state, matched, more, done, created_at, finished_at };
    Ok(StoredJob { job, upper_id: from.take()?, cursor: from.take()? })
}

/// One job.
pub(super) async fn read(
    conn: &mut SqliteConnection,
    id: JobId,
) -> Result<Option<StoredJob>, Failure> {
    let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(read_job).transpose()
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
    rows.iter().map(|row| Ok(read_job(row)?.job)).collect()
}

/// What a job would do. Each look is a read of its own, and counting ends after so many: whoever waits
/// for the answer does not wait for a walk over everything.
pub(super) async fn preview(
    conn: &mut SqliteConnection,
    action: JobAction,
    filter: &JobFilter,
    sample: u32,
) -> Result<JobPreview, Failure> {
    let mut selection = Selection::of(conn, action, filter, (0, i64::MAX)).await?;
    let mut preview = JobPreview { matched: 0, more: false, sample: Vec::new() };
    for _ in 0..LOOKS {
        let Some(end) = selection.end_of_look(conn).await? else { return Ok(preview) };
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
    preview.more = selection.end_of_look(conn).await?.is_some();
    Ok(preview)
}

const fn made(action: JobAction) -> Action {
    match action {
        JobAction::Redrive => Action::Redrive,
        JobAction::Discard => Action::Discard,
    }
}

/// Writes an audit entry of a job.
async fn tell(tx: &mut Tx<'_>, act: &Act, action: Action, job: &Job) -> Result<(), Failure> {
    let filter: serde_json::Value =
        json("a job's filter", &to_json(&KeptFilter::of(&job.asked.filter))?)?;
    let after = serde_json::json!({
        "action": job.asked.action.as_str(),
        "filter": filter,
        "rate_per_second": job.asked.rate_per_second,
        "state": job.state.as_str(),
        "matched": job.matched,
        "done": job.done,
    });
    let subject = PublicId::new(Noun::Job, job.created_at, job.id.0).to_string();
    let done = NewEntry { action, subject, before: None, after: Some(after) };
    audit::append(tx, act, &done).await
}

/// Makes a job.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) job: NewJob,
    /// What was counted just before: the writer has no time for it.
    pub(super) counted: JobPreview,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for Create {
    type Answer = Job;
    const CONTEXT: &'static str = "make a job";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Job, Failure> {
        let upper_id = tx.memory.next_delivery_id - 1;
        let (asked, counted) = (&self.job, &self.counted);
        let done = sqlx::query(
            "INSERT INTO jobs (action, filter, rate_per_second, actor, note, state, matched, more, done,
                upper_id, cursor, created_at)
             VALUES (?, ?, ?, ?, ?, 'running', ?, ?, 0, ?, 0, ?)",
        )
        .bind(asked.action.as_str())
        .bind(to_json(&KeptFilter::of(&asked.filter))?)
        .bind(asked.rate_per_second)
        .bind(&asked.actor)
        .bind(&asked.note)
        .bind(int(counted.matched))
        .bind(counted.more)
        .bind(upper_id)
        .bind(self.act.at.as_micros())
        .execute(&mut *tx.conn)
        .await?;
        let job = Job {
            id: JobId(done.last_insert_rowid()),
            asked: asked.clone(),
            state: JobState::Running,
            matched: counted.matched,
            more: counted.more,
            done: 0,
            created_at: self.act.at,
            finished_at: None,
        };
        tell(tx, &self.act, made(asked.action), &job).await?;
        Ok(job)
    }
}

/// Takes a running job further.
#[derive(Debug)]
pub(super) struct Advance {
    pub(super) id: JobId,
    pub(super) limit: u32,
    pub(super) now: Timestamp,
}

/// What a step selected.
struct Selected {
    id: i64,
    mapping_id: MappingId,
    destination_id: i64,
    state: State,
}

#[async_trait::async_trait]
impl Step for Advance {
    type Answer = Option<JobStep>;
    const CONTEXT: &'static str = "take a job further";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<JobStep>, Failure> {
        let Some(mut stored) = read(tx.conn, self.id).await? else {
            return Ok(None);
        };
        if stored.job.state != JobState::Running {
            return Ok(Some(JobStep { job: stored.job, due: Vec::new() }));
        }
        let selected = self.select(tx, &mut stored).await?;
        for one in &selected {
            match stored.job.asked.action {
                JobAction::Redrive => redrive(tx, one, self.now).await?,
                JobAction::Discard => discard(tx, one, self.now).await?,
            }
        }
        stored.job.done += u64::try_from(selected.len()).unwrap_or(0);
        self.save(tx, &stored).await?;
        if stored.job.state == JobState::Done {
            let act = Act::of_the_service("jobs", self.now);
            tell(tx, &act, Action::FinishJob, &stored.job).await?;
        }
        let mut due: Vec<MappingId> = match stored.job.asked.action {
            JobAction::Redrive => selected.iter().map(|one| one.mapping_id).collect(),
            JobAction::Discard => Vec::new(),
        };
        due.sort_unstable();
        due.dedup();
        Ok(Some(JobStep { job: stored.job, due }))
    }
}

impl Advance {
    /// The next deliveries; moves the cursor behind them, and ends the job after the last.
    async fn select(
        &self,
        tx: &mut Tx<'_>,
        stored: &mut StoredJob,
    ) -> Result<Vec<Selected>, Failure> {
        let asked = &stored.job.asked;
        let keys = (stored.cursor, stored.upper_id);
        let mut selection = Selection::of(tx.conn, asked.action, &asked.filter, keys).await?;
        let mut selected = Vec::new();
        if let Some(end) = selection.end_of_look(tx.conn).await? {
            for found in &selection.first(tx.conn, end, self.limit).await? {
                let found = row::delivery_row(found)?.delivery;
                selected.push(Selected {
                    id: found.id.0,
                    mapping_id: found.mapping_id,
                    destination_id: found.destination_id.0,
                    state: found.state,
                });
            }
            let is_cut = selected.len() == usize::try_from(self.limit).unwrap_or(usize::MAX);
            stored.cursor = selected.last().filter(|_| is_cut).map_or(end, |last| last.id);
            selection.after = stored.cursor;
        }
        if selection.end_of_look(tx.conn).await?.is_none() {
            stored.job.state = JobState::Done;
            stored.job.finished_at = Some(self.now);
        }
        Ok(selected)
    }

    async fn save(&self, tx: &mut Tx<'_>, stored: &StoredJob) -> Result<(), Failure> {
        sqlx::query(
            "UPDATE jobs SET state = ?, done = ?, cursor = ?, finished_at = ? WHERE id = ?",
        )
        .bind(stored.job.state.as_str())
        .bind(int(stored.job.done))
        .bind(stored.cursor)
        .bind(stored.job.finished_at.map(Timestamp::as_micros))
        .bind(self.id.0)
        .execute(&mut *tx.conn)
        .await?;
        Ok(())
    }
}

async fn redrive(tx: &mut Tx<'_>, one: &Selected, now: Timestamp) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE deliveries SET state = 'pending', due_at = ?1, tried = 0,
            settled_at = NULL, reason = NULL,
            deadline_at = ?1 + 1000 * coalesce(
                (SELECT json_extract(settings, '$.window_ms') FROM destinations WHERE id = ?2),
                14400000)
         WHERE id = ?3 AND state = 'dead'",
    )
    .bind(now.as_micros())
    .bind(one.destination_id)
    .bind(one.id)
    .execute(&mut *tx.conn)
    .await?;
    tx.memory.ledger.dead = tx.memory.ledger.dead.saturating_sub(1);
    tx.memory.ledger.pending += 1;
    Ok(())
}

async fn discard(tx: &mut Tx<'_>, one: &Selected, now: Timestamp) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE deliveries SET state = 'discarded', due_at = NULL, settled_at = ?, reason = NULL
         WHERE id = ? AND state IN ('pending', 'dead')",
    )
    .bind(now.as_micros())
    .bind(one.id)
    .execute(&mut *tx.conn)
    .await?;
    let ledger = &mut tx.memory.ledger;
    match one.state {
        State::Pending => ledger.pending = ledger.pending.saturating_sub(1),
        State::Dead => ledger.dead = ledger.dead.saturating_sub(1),
        // The selection has none of these, and the statement's guard leaves them alone.
        State::Leased | State::Delivered | State::Discarded => return Ok(()),
    }
    ledger.discarded += 1;
    Ok(())
}

/// Stops a running job.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) id: JobId,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for Cancel {
    type Answer = Option<Job>;
    const CONTEXT: &'static str = "cancel a job";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Job>, Failure> {
        let done = sqlx::query(
            "UPDATE jobs SET state = 'cancelled', finished_at = ?
             WHERE id = ? AND state = 'running'",
        )
        .bind(self.act.at.as_micros())
        .bind(self.id.0)
        .execute(&mut *tx.conn)
        .await?;
        let job = read(tx.conn, self.id).await?.map(|stored| stored.job);
        if let (Some(job), 1) = (&job, done.rows_affected()) {
            tell(tx, &self.act, Action::CancelJob, job).await?;
        }
        Ok(job)
    }
}

/// Discards pending deliveries of removed mappings.
#[derive(Debug)]
pub(super) struct DiscardRemoved {
    pub(super) now: Timestamp,
    pub(super) limit: u32,
}

#[async_trait::async_trait]
impl Step for DiscardRemoved {
    type Answer = u64;
    const CONTEXT: &'static str = "discard deliveries of removed mappings";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let done = sqlx::query(
            "UPDATE deliveries SET state = 'discarded', due_at = NULL, settled_at = ?
             WHERE id IN (
                SELECT d.id FROM mappings AS m CROSS JOIN deliveries AS d
                    INDEXED BY deliveries_pending
                WHERE m.removed_at IS NOT NULL AND d.mapping_id = m.id AND d.state = 'pending'
                LIMIT ?)",
        )
        .bind(self.now.as_micros())
        .bind(i64::from(self.limit))
        .execute(&mut *tx.conn)
        .await?;
        let discarded = done.rows_affected();
        let ledger = &mut tx.memory.ledger;
        ledger.pending = ledger.pending.saturating_sub(discarded);
        ledger.discarded += discarded;
        Ok(discarded)
    }
}
