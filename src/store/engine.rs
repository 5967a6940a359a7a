//! What an engine brings beside the steps that every engine has: duties of its own, its end, and the
//! clock that its schedules follow.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::clock::Timestamp;

type Run =
    dyn Fn(Timestamp) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>> + Send + Sync;

/// When a duty runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// By an interval, on the monotonic clock.
    Every(Duration),
    /// By a cron schedule: seconds, minutes, hours, day of month, month, day of week; UTC.
    Cron(&'static str),
}

/// A periodic step that only this engine needs, such as a checkpoint.
#[derive(Clone)]
pub struct EngineDuty {
    /// Its name, for the log.
    pub name: &'static str,
    /// When it runs.
    pub recurrence: Recurrence,
    run: Arc<Run>,
}

impl EngineDuty {
    /// A duty that runs `step`.
    pub fn new<F, R>(name: &'static str, recurrence: Recurrence, step: F) -> Self
    where
        F: Fn(Timestamp) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        Self { name, recurrence, run: Arc::new(move |now| Box::pin(step(now))) }
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
        let (name, recurrence) = (self.name, self.recurrence);
        out.debug_struct("EngineDuty")
            .field("name", &name)
            .field("recurrence", &recurrence)
            .finish_non_exhaustive()
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
