//! Insert functions: JavaScript that transforms an event before it is rendered. It runs in sandboxed
//! worker processes of this same program, with a timeout and a memory limit; never in the service's own
//! process.

mod function;
mod invocation;
mod isolate;
mod options;
mod pool;
mod protocol;
mod replies;
mod sandbox;
mod slots;
pub mod worker;
mod worker_process;
mod workers;

pub use function::{Failure, Function, FunctionRun, MAX_SETTINGS, MAX_SOURCE};
pub use options::PoolOptions;
pub use pool::{FunctionPool, WorkerUse};
pub use slots::FunctionSlot;
pub use worker_process::VERB;
