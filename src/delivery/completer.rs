//! Recording: attempts that have ended are gathered and written with what follows from each. An
//! attempt is kept here until the store has it: a full disk delays its record, never loses it, as
//! long as the process lives; after that its lease expires.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use super::batch::Few;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded, StoreError};
use crate::telemetry::metrics;

/// Attempts in one step of the store, so few that events are not kept waiting by one; those of one
/// request stay together whatever their number.
const AT_ONCE: usize = 64;
/// Steps that may be under way: some in the commit now running, others waiting for the next.
const STEPS: usize = 16;
/// The wait before a step that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// Attempts that may wait to be recorded; beyond it no new attempt starts.
const WAITING: usize = 4_096;

/// The way to the recorder.
#[derive(Debug)]
pub(super) struct Records {
    queue: mpsc::UnboundedSender<Few<Record>>,
    room: Arc<Semaphore>,
}

/// The recorder's end of it.
#[derive(Debug)]
pub(super) struct Queue {
    queue: mpsc::UnboundedReceiver<Few<Record>>,
    room: Arc<Semaphore>,
}

/// What a request's attempts take in the queue.
fn places(records: &[Record]) -> usize {
    records.len().min(WAITING)
}

impl Records {
    pub(super) fn new() -> (Self, Queue) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(WAITING));
        (Self { queue: sender, room: Arc::clone(&room) }, Queue { queue: receiver, room })
    }

    /// Hands over the attempts of one request; waits while too many are waiting.
    pub(super) async fn send(&self, records: Few<Record>) {
        if records.is_empty() {
            return;
        }
        let places = u32::try_from(places(&records)).unwrap_or(u32::MAX);
        // Neither is closed before every attempt has ended.
        if let Ok(room) = self.room.acquire_many(places).await {
            room.forget();
            let _ = self.queue.send(records);
        }
    }
}

impl Queue {
    /// `first` and what waits behind it, up to a step's size.
    fn gather(&mut self, first: Few<Record>) -> Arc<Vec<Record>> {
        self.room.add_permits(places(&first));
        let mut gathered = Vec::with_capacity((first.len() + self.queue.len()).min(AT_ONCE));
        gathered.extend(first);
        while gathered.len() < AT_ONCE
            && let Ok(next) = self.queue.try_recv()
        {
            self.room.add_permits(places(&next));
            gathered.extend(next);
        }
        Arc::new(gathered)
    }
}

/// Records until the dispatcher stops and the queue is empty.
pub(super) async fn run(shared: Arc<Shared>, mut queue: Queue) {
    let mut steps = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(first) = queue.queue.recv(), if steps.len() < STEPS => {
                steps.push(write(&shared, queue.gather(first)));
            }
            Some(_) = steps.next(), if !steps.is_empty() => {}
            () = all_ended(&shared), if steps.is_empty() => break,
        }
    }
    queue.queue.close();
    while let Some(first) = queue.queue.recv().await {
        write(&shared, queue.gather(first)).await;
    }
}

/// Resolves once the dispatcher stops and no attempt is under way.
async fn all_ended(shared: &Shared) {
    shared.stopping.cancelled().await;
    shared.attempts_under_way.wait().await;
}

/// Records until it is done; what became of each, nothing when the store has closed.
pub(super) async fn write(shared: &Shared, records: Arc<Vec<Record>>) -> Vec<Recorded> {
    loop {
        match shared.parts.store.record(Arc::clone(&records)).await {
            Ok(results) => {
                shared.note_recorded(&records, &results);
                return results;
            }
            Err(StoreError::Closed) => {
                tracing::error!(count = records.len(), "attempts ended after the store had closed");
                return Vec::new();
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
                (Recorded::Applied, Next::Delivered | Next::Discarded | Next::Renewed { .. }) => {}
            }
        }
        if retries {
            self.claim_wanted.notify_one();
        }
        self.recorded.send_modify(|commits| *commits += 1);
    }
}
