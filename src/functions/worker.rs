//! The worker process's main loop: enters the sandbox, reads calls from stdin, runs them in isolates and
//! writes replies to stdout. It exits when stdin closes, even during a call.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::isolate::{Isolate, ReplySink};
use super::protocol::{self, Call, ErrorKind, FunctionError, Reply, Task};
use super::sandbox;

/// Stack size of the engine's thread.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs the worker until stdin closes.
#[must_use]
pub fn main() -> ExitCode {
    let (calls, queue) = sync_channel(1);
    let engine = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || serve(&queue));
    if engine.and_then(|_| sandbox::enter()).is_err() {
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

fn serve(queue: &Receiver<Vec<u8>>) {
    let send: ReplySink = Rc::new(|reply: &Reply| {
        // The service has exited.
        if protocol::write(&mut io::stdout().lock(), reply).is_err() {
            std::process::exit(1);
        }
    });
    let mut isolates = HashMap::new();
    while let Ok(call) = queue.recv() {
        let Ok(call) = serde_json::from_slice::<Call<'_>>(&call) else {
            std::process::exit(1);
        };
        if execute(&call, &mut isolates, &send) {
            // A call that ran out of memory may have leaked: exit instead of reusing the process.
            let _ = io::stdout().flush();
            std::process::exit(0);
        }
    }
}

/// Runs a call; true if the worker should exit.
fn execute(call: &Call<'_>, isolates: &mut HashMap<u64, Isolate>, send: &ReplySink) -> bool {
    if let Some(evicted) = call.evict {
        isolates.remove(&evicted);
    }
    let mut errors = Errors::default();
    match isolate(call, isolates, send) {
        Ok(isolate) => {
            run(call, isolate, send, &mut errors);
        }
        Err(error) => {
            errors.note(&error);
            for _ in 0..call.events.len().max(1) {
                send(&Reply::Error(error.clone()));
            }
        }
    }
    if errors.any {
        isolates.remove(&call.isolate);
    }
    send(&Reply::Done { discarded: errors.any, exiting: errors.memory });
    errors.memory
}

/// The call's isolate, loaded if necessary.
fn isolate<'r>(
    call: &Call<'_>,
    isolates: &'r mut HashMap<u64, Isolate>,
    send: &ReplySink,
) -> Result<&'r Isolate, FunctionError> {
    if let Some(load) = &call.load {
        let isolate = Isolate::load(load, call.memory_bytes, Rc::clone(send))?;
        isolates.insert(call.isolate, isolate);
    }
    let unknown = || FunctionError {
        kind: ErrorKind::Retry,
        message: "the worker does not know the function".to_owned(),
    };
    isolates.get(&call.isolate).ok_or_else(unknown)
}

fn run(call: &Call<'_>, isolate: &Isolate, send: &ReplySink, errors: &mut Errors) {
    if call.task == Task::Check {
        send(&Reply::Handlers(isolate.handlers()));
        return;
    }
    let mut send_result = |result: Result<_, FunctionError>| match result {
        Ok(event) => send(&Reply::Event(event)),
        Err(error) => {
            errors.note(&error);
            send(&Reply::Error(error));
        }
    };
    if call.task == Task::Batch && isolate.has_batch_handler() {
        send(&Reply::Batched);
        isolate.reset_console();
        match isolate.batch(&call.events) {
            Ok(result) => result.into_iter().for_each(send_result),
            Err(error) => call.events.iter().for_each(|_| send_result(Err(error.clone()))),
        }
    } else {
        call.events.iter().for_each(|event| {
            isolate.reset_console();
            send_result(isolate.each(event));
        });
    }
}

/// The errors of a call: whether any discards the isolate, and whether memory ran out.
#[derive(Default)]
struct Errors {
    any: bool,
    memory: bool,
}

impl Errors {
    fn note(&mut self, error: &FunctionError) {
        match error.kind {
            ErrorKind::Dropped | ErrorKind::Retry => {}
            ErrorKind::Failed => self.any = true,
        }
        self.memory |= error.message.contains("out of memory");
    }
}
