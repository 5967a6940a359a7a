//! The schedule: which duty runs when, on tokio-cron-scheduler. A run that is still going on when the next
//! one is due makes that one be skipped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::task::TaskTracker;

use super::duties::Duties;
use crate::store::StoreError;

type Run = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

struct ScheduledDuty {
    /// Its name in logs.
    name: &'static str,
    /// Seconds, minutes, hours, day of month, month, day of week; UTC.
    cron: &'static str,
    run: fn(Duties) -> Run,
}

const fn duty(name: &'static str, cron: &'static str, run: fn(Duties) -> Run) -> ScheduledDuty {
    ScheduledDuty { name, cron, run }
}

/// Every few seconds: what deliveries wait for.
const INTERVAL_DUTIES: [ScheduledDuty; 5] = [
    duty("clock", "* * * * * *", |it| Box::pin(it.follow_clock())),
    duty("expiry", "*/5 * * * * *", |it| Box::pin(it.expire_leases())),
    duty("tidy", "*/10 * * * * *", |it| Box::pin(it.tidy_store())),
    duty("alerts", "3/10 * * * * *", |it| Box::pin(it.evaluate_alerts())),
    duty("overdue", "*/30 * * * * *", |it| Box::pin(it.settle_overdue())),
];

/// At fixed times of a minute or an hour: rotation, statistics, retention.
const CALENDAR_DUTIES: [ScheduledDuty; 5] = [
    duty("rotation", "0 * * * * *", |it| Box::pin(it.retire_secrets())),
    duty("tokens", "45 * * * * *", |it| Box::pin(it.note_uses())),
    duty("statistics", "5 * * * * *", |it| Box::pin(it.roll_up())),
    duty("retention", "15 */10 * * * *", |it| Box::pin(it.prune())),
    duty("deduplication", "25 0 * * * *", |it| Box::pin(it.rotate_deduplication())),
];

/// The running schedule; [`Schedule::stop`] ends it.
pub struct Schedule {
    scheduler: JobScheduler,
    /// Runs under way.
    runs: TaskTracker,
}

impl Schedule {
    /// Schedules every duty.
    ///
    /// # Errors
    /// When the scheduler does not start.
    pub async fn start(duties: &Duties) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let runs = TaskTracker::new();
        for duty in INTERVAL_DUTIES.iter().chain(&CALENDAR_DUTIES) {
            scheduler.add(job(duty, duties.clone(), runs.clone())?).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler, runs })
    }

    /// Stops the schedule and waits for runs under way: what they use is closed next.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop");
        }
        self.runs.close();
        self.runs.wait().await;
    }
}

fn job(
    duty: &'static ScheduledDuty,
    duties: Duties,
    runs: TaskTracker,
) -> Result<Job, JobSchedulerError> {
    let running = Arc::new(Mutex::new(()));
    Job::new_async(duty.cron, move |_id, _scheduler| {
        let (duties, running) = (duties.clone(), Arc::clone(&running));
        Box::pin(runs.track_future(async move {
            if duties.stopping.is_cancelled() {
                return;
            }
            let Ok(_only_run) = running.try_lock() else { return };
            if let Err(error) = (duty.run)(duties).await {
                tracing::error!(duty = duty.name, %error, "duty failed; its next run retries");
            }
        }))
    })
}
