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

/// A worker exits after an error when the function holds more than this part of its memory.
const MAX_HELD_PART: usize = 4;
/// Stack size of the engine's thread.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs the worker until stdin closes.
#[must_use]
pub fn main() -> ExitCode {
    let (calls, queue) = sync_channel(1);
    let engine = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || serve(&queue));
    let mut input = io::stdin().lock();
    if let Err(error) = engine.and_then(|_| sandbox::enter()) {
        // No call reaches the engine.
        refuse(&mut input, &mut io::stdout().lock(), &error);
        return ExitCode::FAILURE;
    }
    while let Ok(call) = protocol::read(&mut input) {
        if calls.send(call).is_err() {
            break;
        }
    }
    // Exiting ends the engine's thread, even one in an infinite loop.
    ExitCode::SUCCESS
}

/// Answers each call with the error of the sandbox: no function runs outside it.
fn refuse(input: &mut impl io::Read, output: &mut impl io::Write, error: &io::Error) {
    let message = format!("the sandbox of functions cannot be set up: {error}");
    let refused = Reply::Error(FunctionError { kind: ErrorKind::Retry, message });
    while let Ok(call) = protocol::read(input) {
        let Ok(call) = serde_json::from_slice::<Call<'_>>(&call) else { return };
        let replies = std::iter::repeat_n(&refused, call.events.len().max(1));
        let done = Reply::Done { discarded: true, exiting: false };
        for reply in replies.chain([&done]) {
            if protocol::write(output, reply).is_err() {
                return;
            }
        }
    }
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
    // By what the engine holds, not by an error's text, which the function may have chosen.
    let held = isolates.get(&call.isolate).map_or(0, Isolate::held_bytes);
    let exiting = errors.any && held > call.memory_bytes / MAX_HELD_PART;
    if errors.any {
        isolates.remove(&call.isolate);
    }
    send(&Reply::Done { discarded: errors.any, exiting });
    exiting
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

/// The errors of a call: whether any discards the isolate.
#[derive(Default)]
struct Errors {
    any: bool,
}

impl Errors {
    fn note(&mut self, error: &FunctionError) {
        match error.kind {
            ErrorKind::Dropped | ErrorKind::Retry => {}
            ErrorKind::Failed => self.any = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn without_a_sandbox_no_function_runs_and_each_event_has_the_reason() {
        let event = RawValue::from_string("{\"type\":\"track\"}".to_owned()).unwrap();
        let call = Call {
            isolate: 1,
            load: None,
            evict: None,
            task: Task::Each,
            events: vec![&event, &event],
            memory_bytes: 1,
        };
        let (input, mut output) = (protocol::encode(&call).unwrap(), Vec::new());
        refuse(&mut input.as_slice(), &mut output, &io::Error::other("seccomp: not available"));
        let mut output = output.as_slice();
        let mut replies = Vec::new();
        while let Ok(reply) = protocol::read(&mut output) {
            replies.push(serde_json::from_slice::<Reply>(&reply).unwrap());
        }
        let [Reply::Error(first), Reply::Error(second), Reply::Done { discarded: true, .. }] =
            replies.as_slice()
        else {
            panic!("{replies:?}");
        };
        assert_eq!(first, second);
        assert_eq!(first.kind, ErrorKind::Retry);
        let expected = "the sandbox of functions cannot be set up: seccomp: not available";
        assert_eq!(first.message, expected);
    }
}
