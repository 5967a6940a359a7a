//! Events that wait for the writer, served fairly by source (start-time fair queueing): each request has the
//! rows of its source's earlier requests ahead of it, not those of other sources. A source that sends little is
//! in the next transaction, however much others have queued.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::domain::id::SourceId;

/// A queue of requests. It has no bound of its own.
#[derive(Debug)]
pub(super) struct EventQueue<R>(Mutex<Waiting<R>>);

#[derive(Debug)]
struct Waiting<R> {
    sources: HashMap<SourceId, Lane<R>>,
    /// The sources that have requests, by the start of their first one.
    order: BinaryHeap<Reverse<(u64, SourceId)>>,
    /// The start of the last request served, in rows.
    served: u64,
    /// Wakes the writer.
    waker: Option<Waker>,
    is_closed: bool,
}

/// The requests of one source.
#[derive(Debug)]
struct Lane<R> {
    /// Each with its start.
    requests: VecDeque<(u64, R)>,
    /// Where the next request starts.
    end: u64,
}

impl<R> Default for EventQueue<R> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            sources: HashMap::new(),
            order: BinaryHeap::new(),
            served: 0,
            waker: None,
            is_closed: false,
        }))
    }
}

impl<R> EventQueue<R> {
    fn lock(&self) -> MutexGuard<'_, Waiting<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request of so many rows. False, and it is dropped, when the queue is closed.
    pub(super) fn push(&self, source: SourceId, rows: usize, request: R) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return false;
        }
        let served = waiting.served;
        let lane = waiting.sources.entry(source);
        let lane = lane.or_insert_with(|| Lane { requests: VecDeque::new(), end: 0 });
        let start = lane.end.max(served);
        lane.end = start.saturating_add(rows.max(1) as u64);
        let is_first = lane.requests.is_empty();
        lane.requests.push_back((start, request));
        if is_first {
            waiting.order.push(Reverse((start, source)));
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The request whose turn it is.
    pub(super) fn pop(&self) -> Option<R> {
        self.lock().pop()
    }

    /// The same; without one, `waker` is woken by the next.
    pub(super) fn pop_or_wake(&self, waker: &Waker) -> Option<R> {
        let mut waiting = self.lock();
        let popped = waiting.pop();
        if popped.is_none() {
            waiting.waker = Some(waker.clone());
        }
        popped
    }

    /// Refuses further requests; those queued remain.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Refuses further requests and drops those queued.
    pub(super) fn clear(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let sources = std::mem::take(&mut waiting.sources);
        waiting.order.clear();
        // Requests answer their callers when they are dropped: not under the lock.
        drop(waiting);
        drop(sources);
    }
}

impl<R> Waiting<R> {
    fn pop(&mut self) -> Option<R> {
        let Reverse((start, source)) = self.order.pop()?;
        self.served = start;
        let lane = self.sources.get_mut(&source)?;
        let (_, request) = lane.requests.pop_front()?;
        match lane.requests.front() {
            Some((next, _)) => self.order.push(Reverse((*next, source))),
            // Its next request starts anew, ahead by at most this one.
            None => drop(self.sources.remove(&source)),
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues requests as (source, rows).
    fn push(queue: &EventQueue<(i64, usize)>, source: i64, rows: usize) {
        assert!(queue.push(SourceId(source), rows, (source, rows)));
    }

    fn served(queue: &EventQueue<(i64, usize)>) -> Vec<(i64, usize)> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn a_calm_source_is_served_before_the_backlog_of_a_loud_one() {
        let queue = EventQueue::default();
        (0..64).for_each(|_| push(&queue, 1, 500));
        push(&queue, 2, 1);
        let order = served(&queue);
        assert_eq!(order.iter().position(|it| it.0 == 2), Some(1), "{order:?}");
        assert_eq!(order.len(), 65, "and nothing is lost");
    }

    #[test]
    fn sources_get_equal_rows_whatever_the_size_of_their_requests() {
        let queue = EventQueue::default();
        (0..8).for_each(|_| push(&queue, 1, 100));
        (0..80).for_each(|_| push(&queue, 2, 10));
        let mut rows = [0_usize, 0];
        for (source, count) in served(&queue) {
            rows[usize::from(source == 2)] += count;
            assert!(rows[0].abs_diff(rows[1]) <= 110, "{rows:?}");
        }
        assert_eq!(rows, [800, 800]);
    }

    #[test]
    fn requests_of_one_source_keep_their_order() {
        let queue = EventQueue::default();
        (1..=5).for_each(|rows| push(&queue, 1, rows));
        assert_eq!(served(&queue), [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]);
    }

    #[test]
    fn a_source_that_was_idle_does_not_make_up_for_it() {
        let queue = EventQueue::default();
        (0..10).for_each(|_| push(&queue, 1, 100));
        assert_eq!((0..5).filter_map(|_| queue.pop()).count(), 5);
        (0..10).for_each(|_| push(&queue, 2, 100));
        let order = served(&queue);
        let of_first = order.iter().take(10).filter(|it| it.0 == 1).count();
        assert_eq!(of_first, 5, "{order:?}");
    }

    #[test]
    fn a_closed_queue_keeps_what_it_has_and_a_cleared_one_drops_it() {
        let queue = EventQueue::default();
        push(&queue, 1, 1);
        push(&queue, 1, 2);
        queue.close();
        assert!(!queue.push(SourceId(1), 1, (1, 1)));
        assert_eq!(queue.pop(), Some((1, 1)));
        queue.clear();
        assert_eq!(queue.pop(), None);
    }
}
