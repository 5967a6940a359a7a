//! The bounded queue of completed attempts between the requests and the completer. Its bound is taken into
//! account before a request starts: while the attempts that are not recorded yet fill it, no request does.
//! So completed attempts exceed the bound by the requests in flight at most, however slow the store is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::batch::OneOrMany;
use crate::store::Record;

/// Attempts in one store step, few enough not to delay the events of the same write batch; those of one
/// request stay together whatever their number.
const STEP_ATTEMPTS: usize = 64;
/// Completed attempts that are not recorded yet, and their bytes, beyond which no request starts.
const MAX_ATTEMPTS: usize = 2_048;
const MAX_BYTES: usize = 16 << 20;
/// About what a record takes beside its texts and the answer's body.
const RECORD_BYTES: usize = 512;

/// What is completed and not recorded yet: queued, or in a step of the store.
#[derive(Debug, Default)]
struct Unrecorded {
    attempts: AtomicUsize,
    bytes: AtomicUsize,
}

/// The attempts of one request, and their bytes.
type Completion = (OneOrMany<Record>, usize);

/// The requests' end.
#[derive(Debug)]
pub(super) struct CompletionSender {
    queue: mpsc::UnboundedSender<Completion>,
    unrecorded: Arc<Unrecorded>,
}

/// The completer's end.
#[derive(Debug)]
pub(super) struct CompletionReceiver {
    queue: mpsc::UnboundedReceiver<Completion>,
    unrecorded: Arc<Unrecorded>,
}

/// The attempts of one store step. They count as unrecorded until it is dropped.
#[derive(Debug)]
pub(super) struct CompletionStep {
    pub(super) records: Arc<Vec<Record>>,
    bytes: usize,
    unrecorded: Arc<Unrecorded>,
}

/// Both ends of an empty queue.
pub(super) fn completion_queue() -> (CompletionSender, CompletionReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let unrecorded = Arc::new(Unrecorded::default());
    let sender = CompletionSender { queue: sender, unrecorded: Arc::clone(&unrecorded) };
    (sender, CompletionReceiver { queue: receiver, unrecorded })
}

fn bytes_of(record: &Record) -> usize {
    let attempt = &record.attempt;
    let texts = [&attempt.url, &attempt.request_headers, &attempt.response_headers];
    RECORD_BYTES + texts.map(String::len).iter().sum::<usize>() + attempt.response_body.len()
}

impl CompletionSender {
    /// Whether a request may start: there is room for its record.
    pub(super) fn has_room(&self) -> bool {
        self.unrecorded.attempts.load(Ordering::Relaxed) < MAX_ATTEMPTS
            && self.unrecorded.bytes.load(Ordering::Relaxed) < MAX_BYTES
    }

    /// Queues the attempts of one request.
    pub(super) fn send(&self, records: OneOrMany<Record>) {
        if records.is_empty() {
            return;
        }
        let bytes = records.iter().map(bytes_of).sum();
        self.unrecorded.attempts.fetch_add(records.len(), Ordering::Relaxed);
        self.unrecorded.bytes.fetch_add(bytes, Ordering::Relaxed);
        // The completer outlives the requests.
        let _ = self.queue.send((records, bytes));
    }
}

impl CompletionReceiver {
    /// The attempts of the next store step; none once the queue is closed and empty.
    pub(super) async fn recv(&mut self) -> Option<CompletionStep> {
        let (first, mut bytes) = self.queue.recv().await?;
        let mut records = Vec::with_capacity((first.len() + self.queue.len()).min(STEP_ATTEMPTS));
        records.extend(first);
        while records.len() < STEP_ATTEMPTS
            && let Ok((next, more)) = self.queue.try_recv()
        {
            records.extend(next);
            bytes += more;
        }
        Some(CompletionStep {
            records: Arc::new(records),
            bytes,
            unrecorded: Arc::clone(&self.unrecorded),
        })
    }

    /// Closes the queue; what it holds can still be received.
    pub(super) fn close(&mut self) {
        self.queue.close();
    }
}

impl Drop for CompletionStep {
    fn drop(&mut self) {
        self.unrecorded.attempts.fetch_sub(self.records.len(), Ordering::Relaxed);
        self.unrecorded.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attempt::{NewAttempt, Outcome};
    use crate::domain::clock::Timestamp;
    use crate::domain::destination::DeliveryPolicy;
    use crate::domain::id::{DeliveryId, MappingId, NodeId, RevisionId};
    use crate::domain::retry::Next;

    fn record(response_bytes: usize) -> OneOrMany<Record> {
        let at = Timestamp::from_micros(0);
        let unsent = NewAttempt::unsent(NodeId(1), RevisionId(1), at, Outcome::Delivered);
        OneOrMany::from_elem(
            Record {
                delivery_id: DeliveryId(1),
                mapping_id: MappingId(1),
                token: 1,
                attempt: NewAttempt { response_body: vec![0; response_bytes].into(), ..unsent },
                next: Next::Delivered,
                policy: DeliveryPolicy::All,
            },
            1,
        )
    }

    #[tokio::test]
    async fn there_is_room_until_2048_attempts_or_16_mb_of_them_are_not_recorded() {
        for (response_bytes, fit) in [(0, 2_048), (64 << 10, 255)] {
            let (sender, mut receiver) = completion_queue();
            for _ in 0..fit {
                assert!(sender.has_room());
                sender.send(record(response_bytes));
            }
            assert!(!sender.has_room(), "{fit} of {response_bytes} bytes");
            let step = receiver.recv().await.expect("a step");
            assert_eq!(step.records.len(), STEP_ATTEMPTS);
            assert!(!sender.has_room(), "they are not recorded yet");
            drop(step);
            assert!(sender.has_room());
        }
    }
}
