//! The worker process's main loop: enters the sandbox, reads calls from stdin, runs them in isolates and
//! writes replies to stdout. It exits when stdin closes, even during a call.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use serde_json::value::RawValue;

use super::isolate::{Isolate, ReplySink};
use super::protocol::{self, Call, ErrorKind, FunctionError, Reply, Task};
use super::replies::Replies;
use super::sandbox;

/// A worker exits after an error when the function holds more than this part of its memory.
const MAX_HELD_PART: usize = 4;
/// Stack size of the engine's thread.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs the worker until stdin closes.
#[must_use]
pub fn main() -> ExitCode {
    let (calls, queue) = sync_channel(1);
    let replies = Replies::default();
    let start = || {
        replies.start_thread()?;
        let replies = replies.clone();
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&queue, &replies))?;
        sandbox::enter()
    };
    let started = start();
    replies.send_now(&first_reply(&started));
    if started.is_err() {
        // No call reaches the engine.
        return ExitCode::FAILURE;
    }
    let mut input = io::stdin().lock();
    while let Ok(call) = protocol::read(&mut input) {
        if calls.send(call).is_err() {
            break;
        }
    }
    // Exiting ends the engine's thread, even one in an infinite loop.
    ExitCode::SUCCESS
}

/// No function runs outside the sandbox.
fn first_reply(started: &io::Result<()>) -> Reply {
    match started {
        Ok(()) => Reply::Ready,
        Err(error) => {
            Reply::Unavailable(format!("the sandbox of functions cannot be set up: {error}"))
        }
    }
}

fn serve(queue: &Receiver<Vec<u8>>, replies: &Replies) {
    let replies = replies.clone();
    let send: ReplySink = Rc::new(move |reply: &Reply| replies.send(reply));
    let mut isolates = HashMap::new();
    while let Ok(call) = queue.recv() {
        let Ok(call) = serde_json::from_slice::<Call<'_>>(&call) else {
            std::process::exit(1);
        };
        if execute(&call, &mut isolates, &send) {
            // A call that ran out of memory may have leaked: exit instead of reusing the process.
            std::process::exit(0);
        }
    }
}

/// Runs a call; true if the worker should exit.
fn execute(call: &Call<'_>, isolates: &mut HashMap<u64, Isolate>, send: &ReplySink) -> bool {
    if let Some(evicted) = call.evict {
        isolates.remove(&evicted);
    }
    let mut run = Run { call, send, is_spoilt: false, exiting: false };
    let started = Instant::now();
    match isolate(call, isolates, send) {
        Ok(isolate) => run.all(isolate),
        Err(error) => {
            run.is_spoilt = true;
            for _ in 0..call.events.len().max(1) {
                send(&Reply::Error { error: error.clone(), micros: micros(started) });
            }
        }
    }
    let Run { is_spoilt, exiting, .. } = run;
    if is_spoilt {
        isolates.remove(&call.isolate);
    }
    send(&Reply::Done { discarded: is_spoilt, exiting });
    exiting
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The call's isolate, loaded if necessary.
fn isolate<'r>(
    call: &Call<'_>,
    isolates: &'r mut HashMap<u64, Isolate>,
    send: &ReplySink,
) -> Result<&'r mut Isolate, FunctionError> {
    if let Some(load) = &call.load {
        let isolate = Isolate::load(load, call.memory_bytes, Rc::clone(send))?;
        isolates.insert(call.isolate, isolate);
    }
    let unknown = || FunctionError {
        kind: ErrorKind::Retry,
        message: "the worker does not know the function".to_owned(),
    };
    isolates.get_mut(&call.isolate).ok_or_else(unknown)
}

/// A call under way in a loaded isolate.
struct Run<'a> {
    call: &'a Call<'a>,
    send: &'a ReplySink,
    /// An error left the isolate in a state that no further event is to see.
    is_spoilt: bool,
    /// The function holds so much after an error that the process ends.
    exiting: bool,
}

impl Run<'_> {
    fn all(&mut self, isolate: &mut Isolate) {
        match self.call.task {
            Task::Check => (self.send)(&Reply::Handlers(isolate.handlers())),
            Task::Batch if isolate.has_batch_handler() => self.together(isolate),
            Task::Batch | Task::Each => self.each(isolate),
        }
    }

    /// Event by event. After one that failed, the next has a new engine.
    fn each(&mut self, isolate: &mut Isolate) {
        for event in &self.call.events {
            let started = Instant::now();
            if self.is_spoilt {
                match isolate.reloaded() {
                    Ok(new) => (*isolate, self.is_spoilt) = (new, false),
                    Err(error) => {
                        self.reply(Err(error), started);
                        continue;
                    }
                }
            }
            isolate.reset_console();
            self.reply(isolate.each(event), started);
            self.exiting = self.holds_too_much(isolate);
            if self.exiting {
                return;
            }
        }
    }

    /// All events in one call of `onBatch`.
    fn together(&mut self, isolate: &Isolate) {
        (self.send)(&Reply::Batched);
        isolate.reset_console();
        let started = Instant::now();
        match isolate.batch(&self.call.events) {
            Ok(results) => {
                results.into_iter().for_each(|result| self.reply(result, started));
            }
            Err(error) => {
                for _ in &self.call.events {
                    self.reply(Err(error.clone()), started);
                }
            }
        }
        self.exiting = self.holds_too_much(isolate);
    }

    /// After an error: by what the engine holds, not by the error's text, which the function may have chosen.
    fn holds_too_much(&self, isolate: &Isolate) -> bool {
        self.is_spoilt && isolate.held_bytes() > self.call.memory_bytes / MAX_HELD_PART
    }

    fn reply(&mut self, result: Result<Box<RawValue>, FunctionError>, started: Instant) {
        let micros = micros(started);
        match result {
            Ok(event) => (self.send)(&Reply::Event { event, micros }),
            Err(error) => {
                match error.kind {
                    ErrorKind::Dropped | ErrorKind::Retry => {}
                    ErrorKind::Failed => self.is_spoilt = true,
                }
                (self.send)(&Reply::Error { error, micros });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sandbox_no_function_runs_and_the_worker_says_why() {
        let failed = Err(io::Error::other("seccomp: not available"));
        let Reply::Unavailable(why) = first_reply(&failed) else { panic!("it takes calls") };
        assert_eq!(why, "the sandbox of functions cannot be set up: seccomp: not available");
    }
}
