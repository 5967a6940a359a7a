//! Insert functions: results and errors, limits and sandbox, and isolation between mappings. The workers
//! are the real program.

mod calls;
mod deliveries;
mod hostile;
mod results;
mod saving;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use postrider::domain::attempt::Outcome;
use postrider::domain::id::MappingId;
use postrider::domain::mapping::FunctionDefinition;
use postrider::functions::{Function, FunctionPool, FunctionRun, PoolOptions};
use serde_json::{Map, Value, json};

use crate::support::app::functions;

/// A timeout that never expires in a test.
const LONG: Duration = Duration::from_secs(600);

fn function(source: &str) -> Function {
    let definition = FunctionDefinition { source: source.to_owned(), settings: Map::new() };
    Function::of(&definition).unwrap()
}

/// A pool whose calls do not time out.
fn patient() -> FunctionPool {
    pool(|_| {})
}

fn pool(change: impl FnOnce(&mut PoolOptions)) -> FunctionPool {
    let mut options =
        PoolOptions { timeout: LONG, queue_timeout: LONG, run_timeout: LONG, ..functions() };
    change(&mut options);
    FunctionPool::new(options)
}

fn track(name: &str) -> Bytes {
    Bytes::from(json!({"type": "track", "event": name, "properties": {"a": 1}}).to_string())
}

/// A track event through a function.
async fn run(pool: &FunctionPool, source: &str) -> FunctionRun {
    pool.run(MappingId(1), &function(source), track("Bought")).await
}

/// The event that the function returns.
async fn given(pool: &FunctionPool, source: &str) -> Value {
    let ran = run(pool, source).await;
    serde_json::from_slice(&ran.event.unwrap()).unwrap()
}

/// The function's error.
async fn failed(pool: &FunctionPool, source: &str) -> (Outcome, String) {
    let failure = run(pool, source).await.event.unwrap_err();
    (failure.outcome, failure.message)
}
