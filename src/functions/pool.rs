//! The pool of function workers, shared fairly: one mapping uses at most half of them, and so do all
//! suspects together (mappings whose last call was killed). Hanging functions cannot starve the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::function::{Failure, Function, FunctionRun};
use super::invocation::{Invocation, lost, no_reply};
use super::options::PoolOptions;
use super::protocol::Task;
use super::worker_process::{CallResult, End, IsolateKey, Request};
use super::workers::Workers;
use crate::domain::attempt::Outcome;
use crate::domain::id::MappingId;

/// Mappings whose share is kept while they run nothing.
const MAX_SHARES: usize = 4_096;

/// The pool of function workers.
#[derive(Debug)]
pub struct FunctionPool {
    workers: Workers,
    slots: Semaphore,
    suspect_slots: Semaphore,
    shares: Mutex<HashMap<Option<MappingId>, Arc<Share>>>,
}

/// One mapping's share of the pool; `None` is for checks, which belong to no mapping.
#[derive(Debug)]
struct Share {
    slots: Semaphore,
    /// Its last call was killed.
    suspect: AtomicBool,
}

/// The right to use one worker.
struct Slot<'a> {
    _share: SemaphorePermit<'a>,
    _suspect: Option<SemaphorePermit<'a>>,
    _slot: SemaphorePermit<'a>,
}

impl FunctionPool {
    /// A pool; workers are started on demand.
    #[must_use]
    pub fn new(mut options: PoolOptions) -> Self {
        options.workers = options.workers.max(1);
        let workers = options.workers as usize;
        Self {
            slots: Semaphore::new(workers),
            suspect_slots: Semaphore::new((workers / 2).max(1)),
            shares: Mutex::default(),
            workers: Workers::new(options),
        }
    }

    /// Maximum duration of an invocation, including the wait for a worker.
    #[must_use]
    pub fn max_duration(&self) -> Duration {
        self.workers.options.max_duration()
    }

    /// Runs one event of this mapping through its function.
    pub async fn run(&self, mapping: MappingId, function: &Function, event: Bytes) -> FunctionRun {
        let mut runs = self.invoke(mapping, function, Task::Each, &[event]).await;
        runs.pop().unwrap_or_else(|| FunctionRun::new(Err(no_reply()), String::new()))
    }

    /// Runs a batch of this mapping through its function: in one `onBatch` call if it is defined, else
    /// event by event. Results are by position.
    pub async fn run_batch(
        &self,
        mapping: MappingId,
        function: &Function,
        events: &[Bytes],
    ) -> Vec<FunctionRun> {
        self.invoke(mapping, function, Task::Batch, events).await
    }

    /// Checks that a function loads and defines a handler.
    ///
    /// # Errors
    /// What is wrong with it, with line and column where known.
    pub async fn check(&self, function: &Function) -> Result<(), String> {
        let share = self.share(None);
        let _slot = self.slot(&share).await.map_err(|failure| failure.message)?;
        let mut worker = self.workers.take(None).map_err(|failure| failure.message)?;
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
            End::TimedOut => return Err(self.workers.timed_out()),
            End::OutOfMemory => return Err(self.workers.out_of_memory()),
            End::Lost(status) | End::Crashed(status) => return Err(lost(&status)),
        }
        match results.into_iter().next().map(|(result, _)| result) {
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

    async fn invoke(
        &self,
        mapping: MappingId,
        function: &Function,
        task: Task,
        events: &[Bytes],
    ) -> Vec<FunctionRun> {
        let started = Instant::now();
        let share = self.share(Some(mapping));
        let mut runs = match self.slot(&share).await {
            Ok(_slot) => {
                let isolate = IsolateKey { mapping: mapping.0, digest: function.digest };
                let invocation = Invocation {
                    workers: &self.workers,
                    suspect: &share.suspect,
                    isolate,
                    function,
                    task,
                    events,
                };
                invocation.run().await
            }
            Err(failure) => {
                let failed = |_| FunctionRun::new(Err(failure.clone()), String::new());
                events.iter().map(failed).collect()
            }
        };
        let duration = started.elapsed();
        runs.iter_mut().for_each(|run| run.duration = duration);
        runs
    }

    fn share(&self, mapping: Option<MappingId>) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() > MAX_SHARES {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let slots = (self.workers.options.workers as usize / 2).max(1);
        let share = shares.entry(mapping).or_insert_with(|| {
            Arc::new(Share { slots: Semaphore::new(slots), suspect: AtomicBool::new(false) })
        });
        Arc::clone(share)
    }

    async fn slot<'a>(&'a self, share: &'a Share) -> Result<Slot<'a>, Failure> {
        let acquire = async {
            let of_share = share.slots.acquire().await?;
            let suspect = if share.suspect.load(Ordering::SeqCst) {
                Some(self.suspect_slots.acquire().await?)
            } else {
                None
            };
            let slot = self.slots.acquire().await?;
            Ok::<_, tokio::sync::AcquireError>(Slot {
                _share: of_share,
                _suspect: suspect,
                _slot: slot,
            })
        };
        let queue_timeout = self.workers.options.queue_timeout;
        match tokio::time::timeout(queue_timeout, acquire).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Failure {
                outcome: Outcome::FunctionTimeout,
                message: format!(
                    "no function worker was free within {} s",
                    queue_timeout.as_secs_f64()
                ),
            }),
        }
    }
}
