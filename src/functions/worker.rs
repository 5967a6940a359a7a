//! A function worker: the child process that runs functions and nothing else. It gives up, before it
//! reads anything, what it could do harm with; it ends when its input does.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::confine::confine;
use super::frame::{self, Call, Fault, Task, Told};
use super::realm::{Realm, Tell};

/// The stack of the thread that runs the engine.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs the worker until its input ends.
#[must_use]
pub fn main() -> ExitCode {
    let (calls, queue) = sync_channel(1);
    let engine = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || work(&queue));
    if engine.and_then(|_| confine()).is_err() {
        return ExitCode::FAILURE;
    }
    let mut input = io::stdin().lock();
    while let Ok(call) = frame::read(&mut input) {
        if calls.send(call).is_err() {
            break;
        }
    }
    // The engine's thread, even one that will not end, goes with the process.
    ExitCode::SUCCESS
}

fn work(queue: &Receiver<Vec<u8>>) {
    let tell: Tell = Rc::new(|told: &Told| {
        // A service that has gone away needs no answer.
        if frame::write(&mut io::stdout().lock(), told).is_err() {
            std::process::exit(1);
        }
    });
    let mut realms = HashMap::new();
    while let Ok(call) = queue.recv() {
        let Ok(call) = serde_json::from_slice::<Call<'_>>(&call) else {
            std::process::exit(1);
        };
        if answer(&call, &mut realms, &tell) {
            // What ran out of memory may have left some of it behind.
            let _ = io::stdout().flush();
            std::process::exit(0);
        }
    }
}

/// Answers a call; whether the worker has had enough.
pub(super) fn answer(call: &Call<'_>, realms: &mut HashMap<u64, Realm>, tell: &Tell) -> bool {
    if let Some(forgotten) = call.forget {
        realms.remove(&forgotten);
    }
    let mut trouble = Trouble::default();
    match realm(call, realms, tell) {
        Ok(realm) => {
            run(call, realm, tell, &mut trouble);
        }
        Err(fault) => {
            trouble.note(&fault);
            for _ in 0..call.events.len().max(1) {
                tell(&Told::Fault(fault.clone()));
            }
        }
    }
    if trouble.any {
        realms.remove(&call.realm);
    }
    tell(&Told::Done { forgot: trouble.any, spent: trouble.memory });
    trouble.memory
}

/// The call's realm, loaded where it is not.
fn realm<'r>(
    call: &Call<'_>,
    realms: &'r mut HashMap<u64, Realm>,
    tell: &Tell,
) -> Result<&'r Realm, Fault> {
    if let Some(load) = &call.load {
        let realm = Realm::load(load, call.memory_bytes, Rc::clone(tell))?;
        realms.insert(call.realm, realm);
    }
    let unknown = || Fault {
        kind: frame::FaultKind::Retry,
        words: "the worker does not know the function".to_owned(),
    };
    realms.get(&call.realm).ok_or_else(unknown)
}

fn run(call: &Call<'_>, realm: &Realm, tell: &Tell, trouble: &mut Trouble) {
    if call.task == Task::Check {
        tell(&Told::Handlers(realm.handlers()));
        return;
    }
    let mut tell_one = |made: Result<_, Fault>| match made {
        Ok(event) => tell(&Told::Event(event)),
        Err(fault) => {
            trouble.note(&fault);
            tell(&Told::Fault(fault));
        }
    };
    if call.task == Task::Batch && realm.takes_batches() {
        tell(&Told::Together);
        realm.begin();
        match realm.batch(&call.events) {
            Ok(made) => made.into_iter().for_each(tell_one),
            Err(fault) => call.events.iter().for_each(|_| tell_one(Err(fault.clone()))),
        }
    } else {
        call.events.iter().for_each(|event| {
            realm.begin();
            tell_one(realm.each(event));
        });
    }
}

/// What went wrong in a call.
#[derive(Default)]
struct Trouble {
    any: bool,
    memory: bool,
}

impl Trouble {
    fn note(&mut self, fault: &Fault) {
        match fault.kind {
            frame::FaultKind::Dropped | frame::FaultKind::Retry => {}
            frame::FaultKind::Wrong => self.any = true,
        }
        self.memory |= fault.words.contains("out of memory");
    }
}
