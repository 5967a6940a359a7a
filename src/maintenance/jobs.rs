//! Runs redrive and discard jobs: a step at a time, within their rate, until they are done, were
//! cancelled or the process stops. A job goes on where the last committed step left it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Duties;
use crate::domain::clock::Timestamp;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobState};
use crate::store::{JobQuery, StoreError};

/// Deliveries in one step of a job without a rate cap.
const STEP: u32 = 500;
/// Jobs that run at once; beyond them the newest go first.
const JOBS: u32 = 1_000;
/// A rate cap is kept second by second.
const BEAT: Duration = Duration::from_secs(1);

/// Steps the running jobs; woken when there is a new one.
#[derive(Clone, Default)]
pub struct JobRunner {
    wanted: Arc<Notify>,
}

impl JobRunner {
    /// There is a new job, or one was cancelled.
    pub fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Runs jobs until the process stops.
    pub async fn run(self, duties: Duties) {
        let mut beats = Beats::new();
        while !duties.stopping.is_cancelled() {
            let beat_ends_at = duties.clock.now() + BEAT;
            let running = match step_all(&duties, &mut beats).await {
                Ok(running) => running,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, "jobs wait; trying again");
                    true
                }
            };
            tokio::select! {
                () = self.wanted.notified() => {}
                () = duties.clock.sleep_until(beat_ends_at), if running => {}
                () = duties.stopping.cancelled() => return,
            }
        }
    }
}

/// When each capped job may take its next step, however often the runner is woken.
type Beats = HashMap<JobId, Timestamp>;

/// Steps every running job once: a capped one by a second's worth, the others to their end. Returns
/// whether one is left running.
async fn step_all(duties: &Duties, beats: &mut Beats) -> Result<bool, StoreError> {
    let mut left = false;
    let running = JobQuery { state: Some(JobState::Running), limit: JOBS, ..JobQuery::default() };
    let jobs = duties.store.jobs(running).await?;
    beats.retain(|id, _| jobs.iter().any(|job| job.id == *id));
    for job in &jobs {
        let now = duties.clock.now();
        if beats.get(&job.id).is_some_and(|at| *at > now) {
            left = true;
            continue;
        }
        beats.insert(job.id, now + BEAT);
        left |= step(duties, job).await? == JobState::Running;
    }
    Ok(left)
}

async fn step(duties: &Duties, job: &Job) -> Result<JobState, StoreError> {
    let limit = job.asked.rate_per_second.unwrap_or(STEP);
    loop {
        let step = duties.store.step_job(job.id, limit, duties.clock.now()).await?;
        let Some(step) = step else { return Ok(JobState::Cancelled) };
        duties.dispatcher.notify_redriven(&step.due);
        let capped = job.asked.rate_per_second.is_some();
        if capped || step.job.state != JobState::Running || duties.stopping.is_cancelled() {
            return Ok(step.job.state);
        }
    }
}
