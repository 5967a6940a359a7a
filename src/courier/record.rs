//! Recording: attempts that have ended are gathered and written with what follows from each. An
//! attempt is kept here until the store has it: a full disk delays its record, never loses it, as
//! long as the process lives; after that its lease expires.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Shared;
use crate::domain::retry::Next;
use crate::metrics;
use crate::store::{Record, Recorded, StoreError};

/// Attempts in one step of the store.
const AT_ONCE: usize = 512;
/// Steps that may be under way: one in the commit now running, others gathering for the next.
const STEPS: usize = 4;
/// The wait before a step that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Records until the courier stops and the queue is empty.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Record>) {
    let mut steps = FuturesUnordered::new();
    let mut gathered = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = queue.recv_many(&mut gathered, AT_ONCE), if steps.len() < STEPS => {
                steps.push(write(&shared, Arc::new(std::mem::take(&mut gathered))));
            }
            Some(()) = steps.next(), if !steps.is_empty() => {}
            () = all_ended(&shared), if steps.is_empty() => break,
        }
    }
    queue.close();
    while queue.recv_many(&mut gathered, AT_ONCE).await > 0 {
        write(&shared, Arc::new(std::mem::take(&mut gathered))).await;
    }
}

/// Resolves once the courier stops and no attempt is under way.
async fn all_ended(shared: &Shared) {
    shared.stopping.cancelled().await;
    shared.attempts_under_way.wait().await;
}

async fn write(shared: &Shared, records: Arc<Vec<Record>>) {
    loop {
        match shared.parts.store.record(Arc::clone(&records)).await {
            Ok(results) => return shared.note_recorded(&records, &results),
            Err(StoreError::Closed) => {
                tracing::error!(count = records.len(), "attempts ended after the store had closed");
                return;
            }
            Err(error) => {
                tracing::error!(%error, count = records.len(), "attempts wait to be recorded");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

impl Shared {
    pub(super) fn note_recorded(&self, records: &[Record], results: &[Recorded]) {
        self.successes.recorded(records);
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
                (Recorded::Applied, Next::Delivered | Next::Discarded) => {}
            }
        }
        if retries {
            self.claim_wanted.notify_one();
        }
        self.recorded.send_modify(|commits| *commits += 1);
    }
}
