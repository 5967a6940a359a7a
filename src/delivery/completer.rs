//! The completer: writes completed attempts to the store, each with its delivery's next state, and
//! retries while the store fails. A full disk delays the record of an attempt as long as the process
//! lives; after a crash the lease expires.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::completion_queue::CompletionReceiver;
use super::context::Context;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded, StoreError};
use crate::telemetry::metrics;

/// Store steps in flight: some in the commit now running, others queued for the next.
const MAX_STEPS: usize = 16;
/// The wait before a failed step is retried.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Records until the dispatcher stops and the queue is empty.
pub(super) async fn run(context: Arc<Context>, mut queue: CompletionReceiver) {
    let mut steps = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(records) = queue.recv(), if steps.len() < MAX_STEPS => {
                steps.push(write(&context, records));
            }
            Some(_) = steps.next(), if !steps.is_empty() => {}
            () = requests_ended(&context), if steps.is_empty() => break,
        }
    }
    queue.close();
    while let Some(records) = queue.recv().await {
        write(&context, records).await;
    }
}

/// Resolves once the dispatcher stops and no request is in flight.
async fn requests_ended(context: &Context) {
    context.stopping.cancelled().await;
    context.requests.wait().await;
}

/// Records attempts, retrying until the store has them. Returns the result of each; none when the store
/// is closed.
pub(super) async fn write(context: &Context, records: Arc<Vec<Record>>) -> Vec<Recorded> {
    loop {
        match context.parts.store.record(Arc::clone(&records)).await {
            Ok(results) => {
                context.note_recorded(&records, &results);
                return results;
            }
            Err(StoreError::Closed) => {
                tracing::error!(count = records.len(), "attempts ended after the store was closed");
                return Vec::new();
            }
            Err(error) => {
                tracing::error!(%error, count = records.len(), "attempts could not be recorded; retrying");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

impl Context {
    /// Counts recorded attempts, notes when retries are due, and signals the commit.
    pub(super) fn note_recorded(&self, records: &[Record], results: &[Recorded]) {
        self.successes.remove_recorded(records);
        let metrics = &self.parts.metrics;
        let mut retries = false;
        for (record, result) in records.iter().zip(results) {
            let outcome = record.attempt.outcome.as_str();
            metrics.attempts.get_or_create(&metrics::Outcome { outcome }).inc();
            match (result, record.next) {
                (Recorded::Late, _) => {
                    metrics.attempts_late.inc();
                }
                (Recorded::Applied, Next::Retry { due_at }) => {
                    retries = true;
                    self.note_due(record.mapping_id, due_at);
                }
                (Recorded::Applied, Next::Dead { reason }) => {
                    let reason = reason.as_str();
                    metrics.dead_letters.get_or_create(&metrics::Reason { reason }).inc();
                }
                (Recorded::Applied, Next::Delivered | Next::Discarded | Next::Renewed { .. }) => {}
            }
        }
        if retries {
            self.claim_wanted.notify_one();
        }
        self.recorded.send_modify(|commits| *commits += 1);
    }
}
