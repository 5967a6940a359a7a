//! Records attempts: writes them to the store with each delivery's next state, and retries while the store
//! fails. What the database refuses is written attempt by attempt, so that one that cannot be written delays no
//! other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::context::Context;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded, StoreError};
use crate::telemetry::metrics;

/// The wait before a failed step is retried.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// One in so many failures of a step is logged.
const FAILURES_TOLD: u32 = 40;
/// How often an attempt alone is retried that the database refuses: five minutes. Then its lease expires.
const MAX_REFUSALS: u32 = 1_200;

/// Records attempts, retrying until the store has them. Returns the result of each; none of those that could
/// not be recorded.
pub(super) async fn write(context: &Context, records: Arc<Vec<Record>>) -> Vec<Option<Recorded>> {
    let mut failures: u32 = 0;
    loop {
        match context.parts.store.record(Arc::clone(&records)).await {
            Ok(results) => {
                context.note_recorded(&records, &results);
                return results.into_iter().map(Some).collect();
            }
            Err(StoreError::Closed) => {
                tracing::error!(count = records.len(), "attempts ended after the store was closed");
                return vec![None; records.len()];
            }
            Err(error @ StoreError::Database { .. }) => {
                let count = records.len();
                tracing::error!(%error, count, "attempts could not be recorded; each is retried alone");
                tokio::time::sleep(RETRY_AFTER).await;
                let alone = records.iter().map(|record| write_alone(context, record.clone()));
                return join_all(alone).await;
            }
            Err(error) => {
                if failures.is_multiple_of(FAILURES_TOLD) {
                    let count = records.len();
                    tracing::error!(%error, count, "attempts could not be recorded; retrying");
                }
                failures += 1;
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Records one attempt, retrying until the store has it or has refused it too often.
async fn write_alone(context: &Context, record: Record) -> Option<Recorded> {
    let records = Arc::new(vec![record]);
    let mut refusals = 0;
    loop {
        let error = match context.parts.store.record(Arc::clone(&records)).await {
            Ok(results) => {
                context.note_recorded(&records, &results);
                return results.first().copied();
            }
            Err(StoreError::Closed) => return None,
            Err(error) => error,
        };
        refusals += u32::from(matches!(error, StoreError::Database { .. }));
        if refusals >= MAX_REFUSALS {
            let delivery_id = records[0].delivery_id.0;
            tracing::error!(%error, delivery_id, "an attempt cannot be recorded; its lease will expire");
            context.successes.remove_recorded(&records);
            context.in_hand.recorded(&records);
            return None;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

impl Context {
    /// Counts recorded attempts, notes when retries are due, and signals the commit.
    pub(super) fn note_recorded(&self, records: &[Record], results: &[Recorded]) {
        self.successes.remove_recorded(records);
        self.in_hand.recorded(records);
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
