//! The idle worker processes: started on demand, reused while healthy, dropped on shutdown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::options::PoolOptions;
use super::worker_process::{IsolateKey, Limits, WorkerProcess};

/// The workers of a pool. It does not bound their number: the pool's slots do.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) options: PoolOptions,
    idle: Mutex<Vec<WorkerProcess>>,
    stopped: AtomicBool,
    /// Why no function runs: the last worker did not start, or has no sandbox.
    failure: Mutex<Option<String>>,
}

impl Workers {
    pub(super) fn new(options: PoolOptions) -> Self {
        Self {
            options,
            idle: Mutex::default(),
            stopped: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// The limits of a call in an invocation that ends at `deadline_at`.
    pub(super) fn limits(&self, deadline_at: Instant) -> Limits {
        Limits {
            timeout: self.options.timeout,
            deadline_at,
            memory_bytes: self.options.memory_bytes,
            engine_bytes: self.options.engine_memory_bytes,
        }
    }

    /// An idle worker, preferably one that has the isolate loaded; else a new one.
    pub(super) fn take(&self, isolate: Option<IsolateKey>) -> Result<WorkerProcess, String> {
        {
            let mut idle = self.idle();
            let holds =
                |worker: &WorkerProcess| isolate.is_some_and(|isolate| worker.holds(isolate));
            let at = idle.iter().position(holds).or_else(|| idle.len().checked_sub(1));
            if let Some(at) = at {
                return Ok(idle.swap_remove(at));
            }
        }
        WorkerProcess::start(&self.options.executable)
            .map_err(|error| self.failed(format!("a function worker cannot be started: {error}")))
    }

    /// Notes why no function runs, until one does; returns it.
    pub(super) fn failed(&self, why: String) -> String {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.as_ref() != Some(&why) {
            tracing::error!(why, "insert functions do not run; their deliveries stay pending");
            *failure = Some(why.clone());
        }
        why
    }

    /// Why no function runs.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a worker after a call that it answered; one that is not reusable is dropped.
    pub(super) fn put_back(&self, worker: WorkerProcess, reusable: bool) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.take().is_some() {
            tracing::info!("insert functions run again");
        }
        drop(failure);
        if reusable && !self.stopped.load(Ordering::SeqCst) {
            self.idle().push(worker);
        }
    }

    /// Stops the idle workers; busy ones stop when their call ends.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.idle().clear();
    }

    pub(super) fn timed_out(&self) -> String {
        format!("the function took longer than {} s", self.options.timeout.as_secs_f64())
    }

    pub(super) fn run_timed_out(&self) -> String {
        let longest = self.options.run_timeout.as_secs_f64();
        format!("the function took longer than {longest} s for the whole batch")
    }

    pub(super) fn out_of_memory(&self, used: usize) -> String {
        let limit = self.options.memory_bytes >> 20;
        format!(
            "the function used {} MiB of memory: its limit is {limit} MiB",
            used.div_ceil(1 << 20)
        )
    }

    fn idle(&self) -> MutexGuard<'_, Vec<WorkerProcess>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
