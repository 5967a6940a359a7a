//! The bounded queue of completed attempts between the requests and the completer. Its bound is a
//! number of attempts: a request whose attempts do not fit waits. Its in-flight slot is already released, so
//! the number of waiting requests has no bound here.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::batch::OneOrMany;
use crate::store::Record;

/// Attempts in one store step, few enough not to delay the events of the same write batch; those of one
/// request stay together whatever their number.
const STEP_ATTEMPTS: usize = 64;
/// Attempts that the queue holds.
const CAPACITY: usize = 4_096;

/// The requests' end.
#[derive(Debug)]
pub(super) struct CompletionSender {
    queue: mpsc::UnboundedSender<OneOrMany<Record>>,
    room: Arc<Semaphore>,
}

/// The completer's end.
#[derive(Debug)]
pub(super) struct CompletionReceiver {
    queue: mpsc::UnboundedReceiver<OneOrMany<Record>>,
    room: Arc<Semaphore>,
}

/// Both ends of an empty queue.
pub(super) fn completion_queue() -> (CompletionSender, CompletionReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(CAPACITY));
    let sender = CompletionSender { queue: sender, room: Arc::clone(&room) };
    (sender, CompletionReceiver { queue: receiver, room })
}

/// The slots that one request's attempts take.
fn slots(records: &[Record]) -> usize {
    records.len().min(CAPACITY)
}

impl CompletionSender {
    /// Queues the attempts of one request; waits while the queue is full.
    pub(super) async fn send(&self, records: OneOrMany<Record>) {
        if records.is_empty() {
            return;
        }
        let slots = u32::try_from(slots(&records)).unwrap_or(u32::MAX);
        // Neither the semaphore nor the channel is closed before the last request has ended.
        if let Ok(room) = self.room.acquire_many(slots).await {
            room.forget();
            let _ = self.queue.send(records);
        }
    }
}

impl CompletionReceiver {
    /// The attempts of the next store step; none once the queue is closed and empty.
    pub(super) async fn recv(&mut self) -> Option<Arc<Vec<Record>>> {
        let first = self.queue.recv().await?;
        self.room.add_permits(slots(&first));
        let mut step = Vec::with_capacity((first.len() + self.queue.len()).min(STEP_ATTEMPTS));
        step.extend(first);
        while step.len() < STEP_ATTEMPTS
            && let Ok(next) = self.queue.try_recv()
        {
            self.room.add_permits(slots(&next));
            step.extend(next);
        }
        Some(Arc::new(step))
    }

    /// Closes the queue; what it holds can still be received.
    pub(super) fn close(&mut self) {
        self.queue.close();
    }
}
