//! The schedule: which duty runs when, those of the store's engine included. Duties that recur by an interval
//! run on the monotonic clock; those at calendar times run on tokio-cron-scheduler, which compares wall times
//! and is therefore rebuilt after a step of the wall clock. Runs of one duty never overlap.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::duties::Duties;
use crate::store::{Recurrence, StoreError};

type Run = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// The wait before a cron scheduler that did not start is started again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const fn every(seconds: u64) -> Recurrence {
    Recurrence::Every(Duration::from_secs(seconds))
}

/// Every duty that all engines have.
fn duties() -> Vec<ScheduledDuty> {
    vec![
        ScheduledDuty::new("clock", every(1), |it| Box::pin(it.follow_clock())),
        ScheduledDuty::new("source limits", every(1), |it| Box::pin(it.exchange_usage())),
        ScheduledDuty::new("expiry", every(5), |it| Box::pin(it.expire_leases())),
        ScheduledDuty::new("alerts", every(10), |it| Box::pin(it.evaluate_alerts())),
        ScheduledDuty::new("overdue", every(30), |it| Box::pin(it.settle_overdue())),
        ScheduledDuty::new("statistics", every(60), |it| Box::pin(it.roll_up())),
        ScheduledDuty::new("tokens", every(60), |it| Box::pin(it.store_last_used())),
        ScheduledDuty::new("rotation", Recurrence::Cron("0 * * * * *"), |it| {
            Box::pin(it.retire_secrets())
        }),
        ScheduledDuty::new("retention", Recurrence::Cron("15 */10 * * * *"), |it| {
            Box::pin(it.prune())
        }),
    ]
}

/// A duty with its recurrence.
#[derive(Clone)]
struct ScheduledDuty {
    /// Its name in logs.
    name: &'static str,
    recurrence: Recurrence,
    run: Arc<dyn Fn(Duties) -> Run + Send + Sync>,
    /// Held by the run under way.
    running: Arc<Mutex<()>>,
}

impl ScheduledDuty {
    fn new(
        name: &'static str,
        recurrence: Recurrence,
        run: impl Fn(Duties) -> Run + Send + Sync + 'static,
    ) -> Self {
        Self { name, recurrence, run: Arc::new(run), running: Arc::default() }
    }

    /// Runs it once, unless a run is under way. A panic ends this run alone.
    async fn run_once(&self, duties: &Duties) {
        let Ok(_only_run) = self.running.try_lock() else { return };
        if duties.stopping.is_cancelled() {
            return;
        }
        match tokio::spawn((self.run)(duties.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(duty = self.name, %error, "duty failed; its next run retries");
            }
            Err(error) => tracing::error!(duty = self.name, %error, "duty panicked"),
        }
    }

    async fn run_every(self, interval: Duration, duties: Duties, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is immediate: what it would do has been done at the start.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.run_once(&duties).await,
                () = stopping.cancelled() => return,
            }
        }
    }
}

/// The running schedule; [`Schedule::stop`] ends it.
pub struct Schedule {
    stopping: CancellationToken,
    /// The tasks of the schedule, and runs under way.
    tasks: TaskTracker,
}

impl Schedule {
    /// Schedules every duty.
    ///
    /// # Errors
    /// When the cron scheduler does not start.
    pub async fn start(duties: &Duties) -> Result<Self, JobSchedulerError> {
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let of_engine = duties.engine_duties.iter().map(|duty| {
            let (name, recurrence, duty) = (duty.name, duty.recurrence, duty.clone());
            ScheduledDuty::new(name, recurrence, move |duties| {
                let duty = duty.clone();
                Box::pin(async move { duty.run(duties.clock.service_now()).await })
            })
        });
        let mut calendar = Vec::new();
        for duty in self::duties().into_iter().chain(of_engine) {
            match duty.recurrence {
                Recurrence::Every(interval) => {
                    tasks.spawn(duty.run_every(interval, duties.clone(), stopping.clone()));
                }
                Recurrence::Cron(cron) => calendar.push((cron, duty)),
            }
        }
        let calendar = Calendar { duties: duties.clone(), entries: calendar, tasks: tasks.clone() };
        let scheduler = calendar.start().await?;
        tasks.spawn(calendar.run(scheduler, stopping.clone()));
        Ok(Self { stopping, tasks })
    }

    /// Stops the schedule and waits for runs under way: what they use is closed next.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The duties at calendar times.
struct Calendar {
    duties: Duties,
    /// Cron schedules: seconds, minutes, hours, day of month, month, day of week; UTC.
    entries: Vec<(&'static str, ScheduledDuty)>,
    tasks: TaskTracker,
}

impl Calendar {
    /// Starts a cron scheduler.
    async fn start(&self) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for (cron, duty) in &self.entries {
            let (duties, duty, tasks) = (self.duties.clone(), duty.clone(), self.tasks.clone());
            let job = Job::new_async(*cron, move |_id, _scheduler| {
                let (duties, duty) = (duties.clone(), duty.clone());
                Box::pin(tasks.track_future(async move { duty.run_once(&duties).await }))
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(scheduler)
    }

    /// Rebuilds the cron scheduler after each step of the clock, until the schedule stops.
    async fn run(self, scheduler: JobScheduler, stopping: CancellationToken) {
        let mut scheduler = Some(scheduler);
        loop {
            let is_stopping = tokio::select! {
                () = self.duties.clock_steps.stepped() => false,
                () = stopping.cancelled() => true,
            };
            if let Some(mut scheduler) = scheduler.take()
                && let Err(error) = scheduler.shutdown().await
            {
                tracing::warn!(%error, "the cron scheduler did not stop");
            }
            if is_stopping {
                return;
            }
            match self.start().await {
                Ok(rebuilt) => scheduler = Some(rebuilt),
                Err(error) => {
                    tracing::error!(%error, "the cron scheduler was not rebuilt; retrying");
                    tokio::time::sleep(RETRY_AFTER).await;
                    self.duties.clock_steps.rebuild();
                }
            }
        }
    }
}
