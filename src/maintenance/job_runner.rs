//! The job runner: steps redrive and discard jobs within their rate limit until they are finished or
//! cancelled, or the process stops. Progress is committed with each step, so a job resumes after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::backfill;
use super::duties::Duties;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobAction, JobState};
use crate::domain::service_time::ServiceTime;
use crate::store::{JobQuery, StoreError};

/// Deliveries in one step of a job without a rate limit.
const STEP_DELIVERIES: u32 = 128;
/// Jobs that run at once; of more, the newest run first.
const MAX_JOBS: u32 = 1_000;
/// The interval between two steps of a rate-limited job.
const STEP_INTERVAL: Duration = Duration::from_secs(1);

/// Steps the running jobs; cheap to clone.
#[derive(Clone, Default)]
pub struct JobRunner {
    changed: Arc<Notify>,
}

impl JobRunner {
    /// Wakes the runner: a job was created or cancelled.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Runs jobs until the process stops.
    pub async fn run(self, duties: Duties) {
        let mut next_steps = NextSteps::new();
        while !duties.stopping.is_cancelled() {
            let next_round_at = duties.clock.service_now() + STEP_INTERVAL;
            let running = match step_all(&duties, &mut next_steps).await {
                Ok(running) => running,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, "a job step failed; retrying");
                    true
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = duties.clock.sleep_until(next_round_at), if running => {}
                () = duties.stopping.cancelled() => return,
            }
        }
    }
}

/// When each job may take its next step, however often the runner is woken.
type NextSteps = HashMap<JobId, ServiceTime>;

/// Steps every running job: a rate-limited one by one second's worth, the others to their end. Returns
/// whether a job is still running.
async fn step_all(duties: &Duties, next_steps: &mut NextSteps) -> Result<bool, StoreError> {
    let mut still_running = false;
    let running =
        JobQuery { state: Some(JobState::Running), limit: MAX_JOBS, ..JobQuery::default() };
    let jobs = duties.jobs.jobs(running).await?;
    next_steps.retain(|id, _| jobs.iter().any(|job| job.id == *id));
    for job in &jobs {
        let now = duties.clock.service_now();
        if next_steps.get(&job.id).is_some_and(|at| *at > now) {
            still_running = true;
            continue;
        }
        next_steps.insert(job.id, now + STEP_INTERVAL);
        still_running |= step(duties, job).await? == JobState::Running;
    }
    Ok(still_running)
}

async fn step(duties: &Duties, job: &Job) -> Result<JobState, StoreError> {
    match job.spec.action {
        JobAction::Redrive | JobAction::Discard => {}
        JobAction::Backfill => return backfill::run(duties, job).await,
    }
    let mut left = job.spec.rate_per_second;
    loop {
        let limit = left.unwrap_or(STEP_DELIVERIES).min(STEP_DELIVERIES);
        let step = duties.jobs.advance_job(job.id, limit, duties.clock.moment()).await?;
        let Some(step) = step else { return Ok(JobState::Cancelled) };
        duties.dispatcher.notify_due(&step.due);
        // What a step acted on is at most its limit.
        left = left.map(|left| left - limit);
        let is_over = left == Some(0) || step.job.state != JobState::Running;
        if is_over || duties.stopping.is_cancelled() {
            return Ok(step.job.state);
        }
    }
}
