//! The pool of function workers: runs the events of a mapping through its function, in a slot that was taken
//! before or that it waits for.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::function::{Failure, Function, FunctionRun};
use super::invocation::{Invocation, lost};
use super::options::PoolOptions;
use super::protocol::Task;
use super::slots::{FunctionSlot, Slots};
use super::worker_process::{CallResult, End, IsolateKey, Request};
use super::workers::Workers;
use crate::domain::attempt::Outcome;
use crate::domain::id::MappingId;

/// The pool of function workers.
#[derive(Debug)]
pub struct FunctionPool {
    workers: Workers,
    slots: Slots,
}

/// How the workers are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerUse {
    /// Maximum number of workers.
    pub workers: u32,
    /// Workers that run a function.
    pub busy: usize,
}

impl FunctionPool {
    /// A pool; workers are started on demand.
    #[must_use]
    pub fn new(mut options: PoolOptions) -> Self {
        options.workers = options.workers.max(1);
        Self { slots: Slots::new(options.workers), workers: Workers::new(options) }
    }

    /// Maximum duration of an invocation in a slot that was taken before.
    #[must_use]
    pub fn max_duration(&self) -> Duration {
        self.workers.options.run_timeout
    }

    /// How the workers are used.
    #[must_use]
    pub fn usage(&self) -> WorkerUse {
        WorkerUse { workers: self.workers.options.workers, busy: self.slots.busy() }
    }

    /// Why no function runs on this machine; none while workers start.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.workers.failure()
    }

    /// A slot for this mapping, if one is free now.
    #[must_use]
    pub fn try_slot(&self, mapping: MappingId) -> Option<FunctionSlot> {
        self.slots.try_take(Some(mapping))
    }

    /// Whether any slot is free; it need not be free for every mapping.
    #[must_use]
    pub fn has_free_slot(&self) -> bool {
        self.slots.has_free()
    }

    /// Returns when a slot has been freed, or [`FunctionPool::notify`] was called. For one task.
    pub async fn slot_freed(&self) {
        self.slots.freed.notified().await;
    }

    /// Wakes the task that waits for a free slot.
    pub fn notify(&self) {
        self.slots.freed.notify_one();
    }

    /// Runs events of the slot's mapping, each on its own. Results are by position; none for an event whose turn
    /// did not come: the time was over, or no worker starts.
    pub async fn run_each(
        &self,
        slot: &FunctionSlot,
        function: &Function,
        events: &[Bytes],
    ) -> Vec<Option<FunctionRun>> {
        self.invoke(slot, function, Task::Each, events).await
    }

    /// Runs a batch of the slot's mapping: in one `onBatch` call if it is defined, else each event on its own.
    pub async fn run_together(
        &self,
        slot: &FunctionSlot,
        function: &Function,
        events: &[Bytes],
    ) -> Vec<Option<FunctionRun>> {
        self.invoke(slot, function, Task::Batch, events).await
    }

    /// Runs one event of this mapping, in a slot that it waits for.
    pub async fn run(&self, mapping: MappingId, function: &Function, event: Bytes) -> FunctionRun {
        let events = [event];
        let mut runs = match self.slot(Some(mapping)).await {
            Ok(slot) => self.run_each(&slot, function, &events).await,
            Err(failure) => vec![Some(FunctionRun::failed(failure))],
        };
        let failure = || FunctionRun::failed(self.not_run());
        runs.pop().flatten().unwrap_or_else(failure)
    }

    /// Runs a batch of this mapping as [`FunctionPool::run_together`], in a slot that it waits for.
    pub async fn run_batch(
        &self,
        mapping: MappingId,
        function: &Function,
        events: &[Bytes],
    ) -> Vec<FunctionRun> {
        let runs = match self.slot(Some(mapping)).await {
            Ok(slot) => self.run_together(&slot, function, events).await,
            Err(failure) => {
                events.iter().map(|_| Some(FunctionRun::failed(failure.clone()))).collect()
            }
        };
        let failure = || FunctionRun::failed(self.not_run());
        runs.into_iter().map(|run| run.unwrap_or_else(failure)).collect()
    }

    /// Checks that a function loads and defines a handler.
    ///
    /// # Errors
    /// What is wrong with it, with line and column where known.
    pub async fn check(&self, function: &Function) -> Result<(), String> {
        let _slot = self.slot(None).await.map_err(|failure| failure.message)?;
        let mut worker = self.workers.take(None)?;
        let deadline_at = Instant::now() + self.workers.options.run_timeout;
        let request = Request {
            isolate: None,
            function,
            task: Task::Check,
            events: &[],
            limits: self.workers.limits(deadline_at),
        };
        let CallResult { results, handlers, end, .. } = worker.call(&request).await;
        match end {
            End::Done { reusable } => self.workers.put_back(worker, reusable),
            End::TimedOut | End::DeadlinePassed => return Err(self.workers.timed_out()),
            End::OutOfMemory(used) => return Err(self.workers.out_of_memory(used)),
            End::Unavailable(why) => return Err(self.workers.failed(why)),
            End::Lost(status) | End::Crashed(status) => return Err(lost(&status)),
        }
        match results.into_iter().next().map(|result| result.event) {
            Some(Err(error)) => Err(error.message),
            Some(Ok(_)) | None if handlers.is_empty() => {
                Err("defines no handler: onTrack, onIdentify, onPage, onScreen, onGroup, onAlias, \
                     onDelete or onBatch"
                    .to_owned())
            }
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Stops the idle workers; busy ones stop when their call ends.
    pub fn stop(&self) {
        self.workers.stop();
    }

    /// For an event whose turn did not come.
    fn not_run(&self) -> Failure {
        let message = self.failure().unwrap_or_else(|| self.workers.run_timed_out());
        Failure { outcome: Outcome::FunctionTimeout, message }
    }

    async fn invoke(
        &self,
        slot: &FunctionSlot,
        function: &Function,
        task: Task,
        events: &[Bytes],
    ) -> Vec<Option<FunctionRun>> {
        let mapping = slot.mapping.map_or(0, |mapping| mapping.0);
        let isolate = IsolateKey { mapping, digest: function.digest };
        let invocation =
            Invocation { workers: &self.workers, slot, isolate, function, task, events };
        invocation.run().await
    }

    async fn slot(&self, mapping: Option<MappingId>) -> Result<FunctionSlot, Failure> {
        let queue_timeout = self.workers.options.queue_timeout;
        tokio::time::timeout(queue_timeout, self.slots.take(mapping)).await.map_err(|_elapsed| {
            Failure {
                outcome: Outcome::FunctionTimeout,
                message: format!(
                    "no function worker was free within {} s",
                    queue_timeout.as_secs_f64()
                ),
            }
        })
    }
}
