//! An invocation: events through a function in chunks, each a call to a worker. A killed call fails the
//! event that was in progress; the remaining events continue on another worker, until the invocation's time is
//! over. What had no turn by then has no result.

use bytes::Bytes;
use tokio::time::Instant;

use super::function::{Failure, Function, FunctionRun};
use super::protocol::{ErrorKind, FunctionError, Task};
use super::slots::FunctionSlot;
use super::worker_process::{CallResult, End, EventResult, IsolateKey, Request};
use super::workers::Workers;
use crate::domain::attempt::Outcome;

/// Maximum events of one call, and their total size.
const MAX_CALL_EVENTS: usize = 1_000;
const MAX_CALL_BYTES: usize = 4 * 1024 * 1024;

/// An invocation in its slot of the pool.
pub(super) struct Invocation<'a> {
    pub(super) workers: &'a Workers,
    pub(super) slot: &'a FunctionSlot,
    pub(super) isolate: IsolateKey,
    pub(super) function: &'a Function,
    pub(super) task: Task,
    pub(super) events: &'a [Bytes],
}

/// What follows from a call.
enum Then {
    /// The next call, for the events without a result.
    Continue,
    /// The worker was lost before it had a result, maybe between two calls.
    Repeat,
    /// No event has a turn any more.
    Stop,
}

impl Invocation<'_> {
    /// Calls workers until every event has a result or the time is over. Results are by position.
    pub(super) async fn run(&self) -> Vec<Option<FunctionRun>> {
        let deadline_at = Instant::now() + self.workers.options.run_timeout;
        let mut runs = Vec::with_capacity(self.events.len());
        // An idle worker may have been terminated before the call: not the function's fault, retry once.
        let mut may_repeat = true;
        while runs.len() < self.events.len() {
            if !runs.is_empty() && Instant::now() >= deadline_at {
                break;
            }
            match self.call(&mut runs, deadline_at, may_repeat).await {
                Then::Continue => may_repeat = true,
                Then::Repeat => may_repeat = false,
                Then::Stop => break,
            }
        }
        let mut runs: Vec<_> = runs.into_iter().map(Some).collect();
        runs.resize_with(self.events.len(), || None);
        runs
    }

    /// One call.
    async fn call(
        &self,
        runs: &mut Vec<FunctionRun>,
        deadline_at: Instant,
        may_repeat: bool,
    ) -> Then {
        let chunk = chunk(&self.events[runs.len()..]);
        let up_to = runs.len() + chunk.len();
        let Ok(mut worker) = self.workers.take(Some(self.isolate)) else { return Then::Stop };
        let request = Request {
            isolate: Some(self.isolate),
            function: self.function,
            task: self.task,
            events: chunk,
            limits: self.workers.limits(deadline_at),
        };
        let started = Instant::now();
        let CallResult { results, console, batched, end, .. } = worker.call(&request).await;
        let had_results = !results.is_empty();
        runs.extend(results.into_iter().take(chunk.len()).map(run_of));
        let is_killed = matches!(end, End::TimedOut | End::DeadlinePassed | End::OutOfMemory(_));
        self.slot.set_suspect(is_killed);
        let failure = match end {
            End::Done { reusable } => {
                self.workers.put_back(worker, reusable);
                if had_results {
                    return Then::Continue;
                }
                no_reply()
            }
            End::TimedOut => timeout(self.workers.timed_out()),
            // Other events had the time of this one.
            End::DeadlinePassed if !batched && !runs.is_empty() => return Then::Stop,
            End::DeadlinePassed => timeout(self.workers.run_timed_out()),
            End::OutOfMemory(used) => failed(self.workers.out_of_memory(used)),
            End::Unavailable(why) => {
                self.workers.failed(why);
                return Then::Stop;
            }
            End::Crashed(status) => failed(lost(&status)),
            End::Lost(_) if may_repeat => {
                return if had_results { Then::Continue } else { Then::Repeat };
            }
            End::Lost(status) => timeout(lost(&status)),
        };
        let failed_up_to = if batched { up_to } else { up_to.min(runs.len() + 1) };
        let (mut console, duration) = (console, started.elapsed());
        while runs.len() < failed_up_to {
            let run = FunctionRun::new(Err(failure.clone()), std::mem::take(&mut console));
            runs.push(FunctionRun { duration, ..run });
        }
        Then::Continue
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

fn run_of(result: EventResult) -> FunctionRun {
    let run = FunctionRun::new(result.event.map_err(failure), result.console);
    FunctionRun { duration: result.duration, ..run }
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

fn no_reply() -> Failure {
    timeout("the function worker did not answer".to_owned())
}

pub(super) fn lost(status: &str) -> String {
    format!("the function worker exited during the call: {status}")
}
