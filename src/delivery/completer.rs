//! The completer: takes completed attempts from their queue and has them recorded, several steps at a time. A
//! full disk delays the record of an attempt as long as the process lives; after a crash the lease expires.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::completion_queue::{CompletionReceiver, CompletionStep};
use super::context::Context;
use super::{recorder, scheduler};

/// Store steps in flight: some in the commit now running, others queued for the next.
const MAX_STEPS: usize = 16;
/// Records until the dispatcher stops and the queue is empty.
pub(super) async fn run(context: Arc<Context>, mut queue: CompletionReceiver) {
    let mut steps = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(step) = queue.recv(), if steps.len() < MAX_STEPS => {
                steps.push(write_step(&context, step));
            }
            Some(_) = steps.next(), if !steps.is_empty() => {}
            () = requests_ended(&context), if steps.is_empty() => break,
        }
    }
    queue.close();
    while let Some(step) = queue.recv().await {
        write_step(&context, step).await;
    }
}

/// Records a step's attempts; then requests that waited for room start.
async fn write_step(context: &Arc<Context>, step: CompletionStep) {
    recorder::write(context, Arc::clone(&step.records)).await;
    drop(step);
    scheduler::start_all_waiting(context);
}

/// Resolves once the dispatcher stops and no request is in flight.
async fn requests_ended(context: &Context) {
    context.stopping.cancelled().await;
    context.requests.wait().await;
}
