//! Backfill jobs: reads kept events page by page, has their routing decided, and makes their deliveries in small
//! steps. Each step is a commit of its own with the job's position.

use super::duties::Duties;
use crate::domain::id::{EventId, JobId, MappingId};
use crate::domain::job::{Job, JobState};
use crate::store::{BackfillCursor, BackfillPage, BackfillStep, RunningBackfill, StoreError};

/// Events that one page scans.
const PAGE: u32 = 512;
/// Pages without a match after which the position is written.
const IDLE_PAGES: u32 = 16;
/// Deliveries in one step.
const STEP_DELIVERIES: usize = 128;

/// What a step does next.
struct Progress {
    to: BackfillCursor,
    events: Vec<EventId>,
    is_last: bool,
}

/// Runs a backfill: by one second's worth of its rate, or to its end.
pub(super) async fn run(duties: &Duties, job: &Job) -> Result<JobState, StoreError> {
    let mut left = job.spec.rate_per_second.map(to_usize);
    loop {
        let Some(running) = duties.jobs.running_backfill(job.id).await? else {
            return Ok(JobState::Done);
        };
        let limit = left.unwrap_or(STEP_DELIVERIES).min(STEP_DELIVERIES);
        let Some(progress) = next(duties, &running, limit).await? else {
            return cancel(duties, job.id).await;
        };
        let count = progress.events.len();
        let step = BackfillStep {
            job_id: job.id,
            from: running.cursor,
            to: progress.to,
            events: progress.events,
            is_last: progress.is_last,
            now: duties.clock.moment(),
        };
        let Some(step) = duties.jobs.advance_backfill(step).await? else {
            return Ok(JobState::Cancelled);
        };
        duties.dispatcher.notify_due(&step.due);
        left = left.map(|left| left.saturating_sub(count));
        let is_over = left == Some(0) || step.job.state != JobState::Running;
        if is_over || duties.stopping.is_cancelled() {
            return Ok(step.job.state);
        }
        // Deliveries have priority: between two steps the writer serves its queue.
        tokio::task::yield_now().await;
    }
}

/// The next events that match, at most `limit`; none when the mapping was removed.
async fn next(
    duties: &Duties,
    running: &RunningBackfill,
    limit: usize,
) -> Result<Option<Progress>, StoreError> {
    let filter = &running.job.spec.filter;
    let mapping_id = filter.mapping_id.unwrap_or(MappingId(0));
    let mut from = running.cursor;
    for _ in 0..IDLE_PAGES {
        let range = (from, Some(running.upto));
        let page = duties.jobs.backfill_page(filter.clone(), range, PAGE).await?;
        let Some(matching) = duties.dispatcher.routed(mapping_id, &page.events) else {
            return Ok(None);
        };
        if !matching.is_empty() || page.is_last || duties.stopping.is_cancelled() {
            return Ok(Some(progress(&page, &matching, limit)));
        }
        from = page.cursor;
    }
    Ok(Some(Progress { to: from, events: Vec::new(), is_last: false }))
}

/// The first of a page's matches, and the position behind them.
fn progress(page: &BackfillPage, matching: &[usize], limit: usize) -> Progress {
    let taken = &matching[..matching.len().min(limit)];
    let events = taken.iter().filter_map(|at| page.events.get(*at)).map(|it| it.id).collect();
    let is_cut = taken.len() < matching.len();
    let last = taken.last().and_then(|at| page.events.get(*at)).filter(|_| is_cut);
    Progress {
        to: last.map_or(page.cursor, BackfillCursor::behind),
        events,
        is_last: page.is_last && !is_cut,
    }
}

/// There is nothing left to make deliveries for.
async fn cancel(duties: &Duties, id: JobId) -> Result<JobState, StoreError> {
    let act = crate::domain::auth::Act::of_the_service("jobs", duties.clock.now());
    let act = act.noted(Some("the mapping was removed".to_owned()));
    duties.jobs.cancel_job(id, act).await?;
    Ok(JobState::Cancelled)
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
