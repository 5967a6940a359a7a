//! Duties: what is done by the clock rather than by an event. Each is one step of the store or the
//! dispatcher; a run that is still going on when the next is due lets that one pass.

mod jobs;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::auth::Authenticator;
use crate::delivery::Dispatcher;
use crate::domain::clock::Clock;
use crate::domain::id::NodeId;
use crate::store::{PruneRequest, Store, StoreError};

pub use jobs::JobRunner;

/// Deliveries of removed mappings discarded in one step.
const DISCARDED_AT_ONCE: u32 = 1_000;
/// Events pruned in one step.
const PRUNED_AT_ONCE: u32 = 500;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the duties work with.
#[derive(Clone)]
pub struct Duties {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// What delivers.
    pub dispatcher: Dispatcher,
    /// Who is let in.
    pub authenticator: Arc<Authenticator>,
    /// What operators should know.
    pub alerts: Alerts,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node_id: NodeId,
    /// What ends the rotation of a shared secret.
    pub secrets: Arc<dyn RetireSecrets>,
    /// How long settled deliveries are kept, in days.
    pub retention_days: u32,
    /// How long dead letters are kept, in days.
    pub dead_retention_days: u32,
    /// Ends the longer duties.
    pub stopping: CancellationToken,
}

/// Takes shared secrets out of use whose rotation has ended.
#[async_trait]
pub trait RetireSecrets: Send + Sync + 'static {
    /// Looks whether one has, and takes it out.
    async fn retire_secrets(&self);
}

type Run = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

struct Duty {
    name: &'static str,
    /// Seconds, minutes, hours, day of month, month, day of week; UTC.
    schedule: &'static str,
    run: fn(Duties) -> Run,
}

const DUTIES: [Duty; 10] = [
    Duty { name: "clock", schedule: "* * * * * *", run: |it| Box::pin(it.follow_clock()) },
    Duty { name: "expiry", schedule: "*/5 * * * * *", run: |it| Box::pin(it.expire()) },
    Duty { name: "tidy", schedule: "*/10 * * * * *", run: |it| Box::pin(it.tidy()) },
    Duty { name: "alerts", schedule: "3/10 * * * * *", run: |it| Box::pin(it.look_for_alerts()) },
    Duty { name: "overdue", schedule: "*/30 * * * * *", run: |it| Box::pin(it.settle()) },
    Duty { name: "rotation", schedule: "0 * * * * *", run: |it| Box::pin(it.retire_secrets()) },
    Duty { name: "tokens", schedule: "45 * * * * *", run: |it| Box::pin(it.note_uses()) },
    Duty { name: "statistics", schedule: "5 * * * * *", run: |it| Box::pin(it.roll_up()) },
    Duty { name: "retention", schedule: "15 */10 * * * *", run: |it| Box::pin(it.prune()) },
    Duty { name: "deduplication", schedule: "25 0 * * * *", run: |it| Box::pin(it.rotate()) },
];

/// The scheduler with its duties; ends with `stop`.
pub struct Schedule {
    scheduler: JobScheduler,
    /// Runs under way.
    running: TaskTracker,
}

impl Schedule {
    /// Starts every duty on its schedule.
    ///
    /// # Errors
    /// When the scheduler does not start.
    pub async fn start(duties: &Duties) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let tracker = TaskTracker::new();
        for duty in &DUTIES {
            let (duties, runs) = (duties.clone(), tracker.clone());
            let running = Arc::new(Mutex::new(()));
            let job = Job::new_async(duty.schedule, move |_id, _scheduler| {
                let (duties, running) = (duties.clone(), Arc::clone(&running));
                Box::pin(runs.track_future(async move {
                    if duties.stopping.is_cancelled() {
                        return;
                    }
                    let Ok(_only_one) = running.try_lock() else { return };
                    if let Err(error) = (duty.run)(duties).await {
                        tracing::error!(duty = duty.name, %error, "the next run tries again");
                    }
                }))
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler, running: tracker })
    }

    /// Starts no further run, and waits for those under way: what they use is closed next.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop");
        }
        self.running.close();
        self.running.wait().await;
    }
}

impl Duties {
    async fn follow_clock(self) -> Result<(), StoreError> {
        self.dispatcher.observe();
        if let Some(micros) = self.dispatcher.resync_clock().await {
            self.alerts.shift(micros).await;
        }
        self.dispatcher.shift_schedule().await
    }

    /// Looks once at what operators should know.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn look_for_alerts(self) -> Result<(), StoreError> {
        self.alerts.look().await
    }

    async fn expire(self) -> Result<(), StoreError> {
        self.store.heartbeat(self.node_id, self.clock.now()).await?;
        let expired = self.dispatcher.expire_leases().await?;
        if expired > 0 {
            tracing::warn!(expired, "leases ended without an outcome");
        }
        Ok(())
    }

    async fn tidy(self) -> Result<(), StoreError> {
        self.store.tidy().await
    }

    async fn settle(self) -> Result<(), StoreError> {
        self.dispatcher.settle_overdue().await?;
        while self.store.discard_removed(self.clock.now(), DISCARDED_AT_ONCE).await? > 0 {}
        self.dispatcher.refresh().await
    }

    /// Stores the minutes gathered since the last run.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn roll_up(self) -> Result<(), StoreError> {
        let rows = self.dispatcher.unstored_statistics();
        if !rows.is_empty() {
            self.store.add_statistics(rows.clone()).await?;
            self.dispatcher.subtract_statistics(&rows);
            self.alerts.learn(&rows);
        }
        self.store.note_level(self.clock.now()).await
    }

    /// Stores when tokens were last used.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn note_uses(self) -> Result<(), StoreError> {
        self.authenticator.note_uses().await
    }

    /// Removes everything past its retention.
    ///
    /// # Errors
    /// When the store fails; what was removed until then stays removed.
    pub async fn prune(self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let request = PruneRequest {
            settled_before: now - DAY * self.retention_days,
            dead_before: now - DAY * self.dead_retention_days,
            limit: PRUNED_AT_ONCE,
        };
        let mut events = 0;
        while !self.stopping.is_cancelled() {
            let pruned = self.store.prune(request).await?;
            events += pruned.events;
            if !pruned.more {
                break;
            }
            // Deliveries come first: between two steps the writer takes what is queued.
            tokio::task::yield_now().await;
        }
        if events > 0 {
            tracing::info!(events, "past their retention and removed");
        }
        Ok(())
    }

    async fn retire_secrets(self) -> Result<(), StoreError> {
        self.secrets.retire_secrets().await;
        Ok(())
    }

    async fn rotate(self) -> Result<(), StoreError> {
        self.store.rotate_deduplication(self.clock.now()).await
    }
}
