//! Function workers and limiters: which mappings need a worker, and the limiters that wait for one, oldest
//! first. A freed worker is theirs in turn: no mapping keeps it by asking first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::function_stage::FunctionStage;
use super::limiter::Limiter;
use super::queue::MappingQueue;
use crate::domain::id::MappingId;
use crate::functions::FunctionPool;

#[derive(Debug, Default)]
pub(super) struct WorkerQueue(Mutex<VecDeque<Arc<Limiter>>>);

impl WorkerQueue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Limiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Appends a limiter, unless it waits already.
    pub(super) fn push(&self, limiter: &Arc<Limiter>) {
        let mut waiting = self.waiting();
        if !waiting.iter().any(|it| Arc::ptr_eq(it, limiter)) {
            waiting.push_back(Arc::clone(limiter));
        }
    }

    /// Takes all of them out.
    pub(super) fn take(&self) -> VecDeque<Arc<Limiter>> {
        std::mem::take(&mut *self.waiting())
    }

    /// Puts those back that had no turn, before the others.
    pub(super) fn put_back(&self, untried: VecDeque<Arc<Limiter>>) {
        let mut waiting = self.waiting();
        for limiter in untried.into_iter().rev() {
            waiting.retain(|it| !Arc::ptr_eq(it, &limiter));
            waiting.push_front(limiter);
        }
    }
}

impl Limiter {
    /// Applies which mappings have a function; to be called after [`Limiter::configure`].
    pub(super) fn configure_functions(&self, with: &[MappingId], pool: &Arc<FunctionPool>) {
        let mut state = self.state();
        let (in_flight, spacing) = (state.max_in_flight, state.spacing);
        let rate = spacing.map(|it| u32::try_from(1_000 / it.as_millis().max(1)).unwrap_or(1));
        for queue in &mut state.queues {
            if !with.contains(&queue.mapping_id) {
                queue.function = None;
                continue;
            }
            let mapping_id = queue.mapping_id;
            let stage = || FunctionStage::new(mapping_id, Arc::clone(pool));
            queue.function.get_or_insert_with(stage).configure(in_flight, rate);
        }
    }

    /// A call of a mapping's function has ended.
    pub(super) fn note_call(&self, mapping_id: MappingId, count: usize, duration: Duration) {
        if let Some(stage) = self.state().queue(mapping_id).and_then(|it| it.function.as_mut()) {
            stage.note_call(count, duration);
        }
    }

    /// Deliveries that wait for a function worker.
    pub(super) fn waits_for_worker(&self) -> usize {
        self.state().queues.iter().map(MappingQueue::waits_for_worker).sum()
    }
}
