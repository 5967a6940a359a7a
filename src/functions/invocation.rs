//! An invocation: events through a function in chunks, each a call to a worker. A killed call fails the
//! event that was in progress; the remaining events continue on another worker.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use super::function::{Failure, Function, FunctionRun};
use super::protocol::{ErrorKind, FunctionError, Task};
use super::worker_process::{End, IsolateKey, Request};
use super::workers::Workers;
use crate::domain::attempt::Outcome;

/// Maximum events of one call, and their total size.
const MAX_CALL_EVENTS: usize = 1_000;
const MAX_CALL_BYTES: usize = 4 * 1024 * 1024;

/// An invocation that holds its slot in the pool.
pub(super) struct Invocation<'a> {
    pub(super) workers: &'a Workers,
    /// Whether the mapping's last call was killed.
    pub(super) suspect: &'a AtomicBool,
    pub(super) isolate: IsolateKey,
    pub(super) function: &'a Function,
    pub(super) task: Task,
    pub(super) events: &'a [Bytes],
}

impl Invocation<'_> {
    /// Calls workers until every event has a result.
    pub(super) async fn run(&self) -> Vec<FunctionRun> {
        let deadline_at = Instant::now() + self.workers.options.run_timeout;
        let mut runs = Vec::with_capacity(self.events.len());
        // An idle worker may have been terminated before the call: not the function's fault, retry once.
        let mut may_retry = true;
        while runs.len() < self.events.len() {
            if !runs.is_empty() && Instant::now() >= deadline_at {
                self.fill(&mut runs, self.events.len(), &self.batch_timed_out(), String::new());
                break;
            }
            let began = runs.len();
            let lost = self.call(&mut runs, deadline_at, may_retry).await;
            may_retry &= !lost || runs.len() > began;
        }
        runs
    }

    /// One call. True if its worker was lost; then it may have produced no result.
    async fn call(
        &self,
        runs: &mut Vec<FunctionRun>,
        deadline_at: Instant,
        may_retry: bool,
    ) -> bool {
        let chunk = chunk(&self.events[runs.len()..]);
        let up_to = runs.len() + chunk.len();
        let mut worker = match self.workers.take(Some(self.isolate)) {
            Ok(worker) => worker,
            Err(failure) => {
                self.fill(runs, self.events.len(), &failure, String::new());
                return false;
            }
        };
        let request = Request {
            isolate: Some(self.isolate),
            function: self.function,
            task: self.task,
            events: chunk,
            limits: self.workers.limits(deadline_at),
        };
        let result = worker.call(&request).await;
        let results = result.results.into_iter().take(chunk.len());
        runs.extend(
            results.map(|(event, console)| FunctionRun::new(event.map_err(failure), console)),
        );
        let failed_up_to = if result.batched { up_to } else { up_to.min(runs.len() + 1) };
        let killed = matches!(result.end, End::TimedOut | End::OutOfMemory);
        self.suspect.store(killed, Ordering::SeqCst);
        let (failed_up_to, failure) = match result.end {
            End::Done { reusable } => {
                self.workers.put_back(worker, reusable);
                (up_to, no_reply())
            }
            End::TimedOut => (failed_up_to, timeout(self.workers.timed_out())),
            End::OutOfMemory => (failed_up_to, failed(self.workers.out_of_memory())),
            End::Crashed(status) => (failed_up_to, failed(lost(&status))),
            End::Lost(_) if may_retry => return true,
            End::Lost(status) => (failed_up_to, timeout(lost(&status))),
        };
        self.fill(runs, failed_up_to, &failure, result.console);
        false
    }

    fn batch_timed_out(&self) -> Failure {
        let longest = self.workers.options.run_timeout.as_secs_f64();
        timeout(format!("the function took longer than {longest} s for the whole batch"))
    }

    /// Fails all events up to this position; the console output belongs to the first.
    fn fill(
        &self,
        runs: &mut Vec<FunctionRun>,
        up_to: usize,
        failure: &Failure,
        mut console: String,
    ) {
        while runs.len() < up_to {
            runs.push(FunctionRun::new(Err(failure.clone()), std::mem::take(&mut console)));
        }
    }
}

/// The events of the next call: at least one.
fn chunk(events: &[Bytes]) -> &[Bytes] {
    let mut bytes = 0;
    let fits = events.iter().take(MAX_CALL_EVENTS).take_while(|event| {
        bytes += event.len();
        bytes <= MAX_CALL_BYTES
    });
    let count = fits.count().max(1);
    &events[..count.min(events.len())]
}

fn failure(error: FunctionError) -> Failure {
    let outcome = match error.kind {
        ErrorKind::Dropped => Outcome::Dropped,
        ErrorKind::Retry => Outcome::FunctionRetry,
        ErrorKind::Failed => Outcome::Function,
    };
    Failure { outcome, message: error.message }
}

fn timeout(message: String) -> Failure {
    Failure { outcome: Outcome::FunctionTimeout, message }
}

fn failed(message: String) -> Failure {
    Failure { outcome: Outcome::Function, message }
}

pub(super) fn no_reply() -> Failure {
    timeout("the function worker did not answer".to_owned())
}

pub(super) fn lost(status: &str) -> String {
    format!("the function worker exited during the call: {status}")
}
