//! A run: events through a function, in as many calls as it takes, on workers of its pool. A call that
//! has to be killed settles the event that it was at; the others go on with another worker.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use super::child::{End, RealmKey, Request};
use super::frame::{Fault, FaultKind, Task};
use super::pool::{FunctionPool, Ran};
use super::{Failure, Function};
use crate::domain::attempt::Outcome;

/// Events that go to a worker in one call, and their bytes.
const MOST_EVENTS: usize = 1_000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A run that has its place in the pool.
pub(super) struct Run<'a> {
    pub(super) pool: &'a FunctionPool,
    /// Whether the mapping's last call had to be killed.
    pub(super) suspect: &'a AtomicBool,
    pub(super) realm: RealmKey,
    pub(super) function: &'a Function,
    pub(super) task: Task,
    pub(super) events: &'a [Bytes],
}

impl Run<'_> {
    /// Calls until every event has its result.
    pub(super) async fn to_end(&self) -> Vec<Ran> {
        let ends_at = Instant::now() + self.pool.options.run_timeout;
        let mut ran = Vec::with_capacity(self.events.len());
        // A worker may have been gone before it was called: that is not the function's doing.
        let mut may_be_lost = true;
        while ran.len() < self.events.len() {
            if !ran.is_empty() && Instant::now() >= ends_at {
                self.fill(&mut ran, self.events.len(), &self.too_slow(), String::new());
                break;
            }
            let began = ran.len();
            let lost = self.call(&mut ran, ends_at, may_be_lost).await;
            may_be_lost &= !lost || ran.len() > began;
        }
        ran
    }

    /// One call. True when its worker was lost; then there may be no result more.
    async fn call(&self, ran: &mut Vec<Ran>, ends_at: Instant, may_be_lost: bool) -> bool {
        let part = part(&self.events[ran.len()..]);
        let up_to = ran.len() + part.len();
        let mut worker = match self.pool.worker(Some(self.realm)) {
            Ok(worker) => worker,
            Err(failure) => {
                self.fill(ran, self.events.len(), &failure, String::new());
                return false;
            }
        };
        let request = Request {
            realm: Some(self.realm),
            function: self.function,
            task: self.task,
            events: part,
            limits: self.pool.limits(ends_at),
        };
        let called = worker.call(&request).await;
        let told = called.made.into_iter().take(part.len());
        ran.extend(told.map(|(made, console)| Ran::new(made.map_err(failure), console)));
        let hit = if called.together { up_to } else { up_to.min(ran.len() + 1) };
        let killed = matches!(called.end, End::Time | End::Memory);
        self.suspect.store(killed, Ordering::SeqCst);
        let (hit, failure) = match called.end {
            End::Done { again } => {
                self.pool.put_back(worker, again);
                (up_to, silent())
            }
            End::Time => (hit, timeout(self.pool.too_long())),
            End::Memory => (hit, wrong(self.pool.too_much())),
            End::Crashed(how) => (hit, wrong(lost(&how))),
            End::Lost(_) if may_be_lost => return true,
            End::Lost(how) => (hit, timeout(lost(&how))),
        };
        self.fill(ran, hit, &failure, called.console);
        false
    }

    fn too_slow(&self) -> Failure {
        let longest = self.pool.options.run_timeout.as_secs_f64();
        timeout(format!("the function took longer than {longest} s for the whole batch"))
    }

    /// The same failure for all up to here; the console belongs to the first.
    fn fill(&self, ran: &mut Vec<Ran>, up_to: usize, failure: &Failure, mut console: String) {
        while ran.len() < up_to {
            ran.push(Ran::new(Err(failure.clone()), std::mem::take(&mut console)));
        }
    }
}

/// As many events as one call takes, one at least.
fn part(events: &[Bytes]) -> &[Bytes] {
    let mut bytes = 0;
    let fits = events.iter().take(MOST_EVENTS).take_while(|event| {
        bytes += event.len();
        bytes <= MOST_BYTES
    });
    let count = fits.count().max(1);
    &events[..count.min(events.len())]
}

fn failure(fault: Fault) -> Failure {
    let outcome = match fault.kind {
        FaultKind::Dropped => Outcome::Dropped,
        FaultKind::Retry => Outcome::FunctionRetry,
        FaultKind::Wrong => Outcome::Function,
    };
    Failure { outcome, words: fault.words }
}

fn timeout(words: String) -> Failure {
    Failure { outcome: Outcome::FunctionTimeout, words }
}

fn wrong(words: String) -> Failure {
    Failure { outcome: Outcome::Function, words }
}

pub(super) fn silent() -> Failure {
    timeout("the function worker did not answer".to_owned())
}

pub(super) fn lost(how: &str) -> String {
    format!("the function worker ended within the call: {how}")
}
