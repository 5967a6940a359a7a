//! What an engine brings beside the steps that every engine has: duties of its own, its end, and the
//! clock that its schedules follow.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::clock::Timestamp;

type Run =
    dyn Fn(Timestamp) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>> + Send + Sync;

/// A periodic step that only this engine needs, such as a checkpoint.
#[derive(Clone)]
pub struct EngineDuty {
    /// Its name, for the log.
    pub name: &'static str,
    /// Its cron schedule: seconds, minutes, hours, day of month, month, day of week; UTC.
    pub schedule: &'static str,
    run: Arc<Run>,
}

impl EngineDuty {
    /// A duty that runs `step`.
    pub fn new<F, R>(name: &'static str, schedule: &'static str, step: F) -> Self
    where
        F: Fn(Timestamp) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        Self { name, schedule, run: Arc::new(move |now| Box::pin(step(now))) }
    }

    /// Runs the step once.
    ///
    /// # Errors
    /// When the engine fails; the next run retries.
    pub async fn run(&self, now: Timestamp) -> Result<(), StoreError> {
        (self.run)(now).await
    }
}

impl fmt::Debug for EngineDuty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, schedule) = (self.name, self.schedule);
        out.debug_struct("EngineDuty").field("name", &name).field("schedule", &schedule).finish()
    }
}

/// Schedules (due times, deadlines, lease expiries) that are stored in the node's own time. An engine
/// whose schedules are in the database's time has none.
#[async_trait]
pub trait NodeTimeSchedule: Send + Sync + 'static {
    /// The newest heartbeat on record. At start, a clock behind it went back while no node ran.
    async fn last_heartbeat_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Shifts every schedule by a step of the clock, in microseconds.
    async fn shift(&self, micros: i64) -> Result<(), StoreError>;
}

/// The engine under a store.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The version of the schema that this program writes.
    fn schema_version(&self) -> i64;

    /// The engine's own duties.
    fn duties(self: Arc<Self>) -> Vec<EngineDuty>;

    /// The schedules that follow the node's clock, if this engine has such.
    fn node_time_schedule(self: Arc<Self>) -> Option<Arc<dyn NodeTimeSchedule>>;

    /// Resolves, with the cause, once the database has failed such that only a restart can tell what
    /// is durable: the process must exit. Pending for ever otherwise.
    async fn failed(&self) -> String;

    /// Commits what is queued, then closes. Later calls return [`StoreError::Closed`].
    async fn close(&self);
}
