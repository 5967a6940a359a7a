//! What an engine brings beside the steps that every engine has: duties of its own, its end, and the
//! moment that service time continues from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Inbox, StoreError};
use crate::domain::clock::Moment;
use crate::domain::service_time::ServiceTime;

type Run = dyn Fn(ServiceTime) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>
    + Send
    + Sync;

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
        F: Fn(ServiceTime) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        Self { name, recurrence, run: Arc::new(move |now| Box::pin(step(now))) }
    }

    /// Runs the step once.
    ///
    /// # Errors
    /// When the engine fails; the next run retries.
    pub async fn run(&self, now: ServiceTime) -> Result<(), StoreError> {
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

/// The engine under a store.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The version of the schema that this program writes.
    fn schema_version(&self) -> i64;

    /// The engine's own duties.
    fn duties(self: Arc<Self>) -> Vec<EngineDuty>;

    /// The inbox in the database that applications write to; none for an engine whose database is this process's
    /// alone.
    fn inbox(self: Arc<Self>) -> Option<Arc<dyn Inbox>>;

    /// The last moment on record, which the node's service time continues from; none in a database that no
    /// node has served. An engine whose database has a clock of its own answers what that says now.
    async fn last_moment(&self) -> Result<Option<Moment>, StoreError>;

    /// Resolves, with the cause, once the database has failed such that only a restart can tell what
    /// is durable: the process must exit. Pending for ever otherwise.
    async fn failed(&self) -> String;

    /// Commits what is queued, then closes. Later calls return [`StoreError::Closed`].
    async fn close(&self);
}
