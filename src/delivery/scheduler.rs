//! The scheduler: starts requests as the limiters and the limit over all destinations admit them, and
//! continues when a request ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::circuit_breaker::Verdict;
use super::context::Context;
use super::lease::lease_of;
use super::limiter::{Completed, Limiter, NextRequest};
use super::memory_budget::Reservation;
use super::outcome::Execution;
use super::queue::Dequeued;
use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;
use crate::functions::FunctionSlot;
use crate::store::LeasedDelivery;

/// Requests that a destination may have in flight even while the limit over all destinations is reached.
const GUARANTEED_IN_FLIGHT: u32 = 2;

/// An admitted request. Dropped without an end, as by a panic, it releases what it holds.
struct Admitted {
    context: Arc<Context>,
    limiter: Arc<Limiter>,
    mapping_id: MappingId,
    /// None once it is executed.
    dequeued: Option<Dequeued>,
    /// The worker for its function; none once it is executed.
    worker: Option<FunctionSlot>,
    /// None once its memory is released.
    reservation: Option<Reservation>,
    has_ended: bool,
}

impl Admitted {
    /// Executes it and releases its places; returns what follows.
    async fn execute(mut self) -> (Execution, Completed) {
        let mut execution = Execution::default();
        if let Some(dequeued) = self.dequeued.take() {
            let leases = self.context.in_hand.guard(dequeued.leases());
            let worker = self.worker.take();
            execution = self.context.execute(self.mapping_id, dequeued, worker).await;
            leases.completed(&execution.records);
            // Before its slots are free: completed attempts that are not recorded count before the next request starts.
            self.context.completions.send(std::mem::take(&mut execution.records));
        }
        self.apply_asked(&mut execution);
        if let Some((count, duration)) = execution.call {
            self.limiter.note_call(self.mapping_id, count, duration);
        }
        let batches = std::mem::take(&mut execution.batches);
        execution.has_batches = !batches.is_empty();
        execution.released.append(&mut self.limiter.push_batches(self.mapping_id, batches));
        let completed = self.end(execution.verdict);
        (execution, completed)
    }

    /// Before its place is free: no further request goes to a receiver that asked for none.
    fn apply_asked(&self, execution: &mut Execution) {
        if let Some(wait) = execution.wait {
            let until = self.context.parts.clock.service_now() + wait;
            let concerned = self.limiter.wait_until(self.mapping_id, until);
            self.context.store_receiver_waits(concerned, until);
        }
        if execution.is_gone {
            execution.released.append(&mut self.limiter.stop(self.mapping_id));
            self.context.pause_gone(self.mapping_id);
        }
    }

    fn end(&mut self, verdict: Verdict) -> Completed {
        self.has_ended = true;
        self.reservation = None;
        let now = self.context.parts.clock.service_now();
        let completed = self.limiter.complete(self.mapping_id, verdict, now);
        self.context.in_flight.fetch_sub(1, Ordering::Relaxed);
        completed
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.has_ended {
            tracing::error!("a request ended without an outcome; its leases will expire");
            if let Some(dequeued) = self.dequeued.take() {
                drop(self.context.in_hand.guard(dequeued.leases()));
            }
            let completed = self.end(Verdict::Neutral);
            self.context.release_in_background(completed.drained);
            self.context.claim_wanted.notify_one();
            start_waiting(&self.context);
            // Not where a runtime that ends drops its tasks: it would drop what is started here at once.
            if std::thread::panicking() {
                start_requests(&self.context, &self.limiter);
            }
        }
    }
}

/// Queues leased deliveries at their limiters and starts the requests that are admitted. Deliveries of
/// mappings that do not deliver are released.
pub(super) fn enqueue(context: &Arc<Context>, deliveries: Vec<LeasedDelivery>, reserved: bool) {
    let now = context.parts.clock.service_now();
    let mut refused = Vec::new();
    let mut changed: Vec<Arc<Limiter>> = Vec::new();
    for delivery in deliveries {
        let Some(limiter) = context.limiter(delivery.mapping_id) else {
            refused.push(lease_of(&delivery));
            continue;
        };
        refused.extend(limiter.push(delivery, reserved, now));
        if !changed.iter().any(|it| Arc::ptr_eq(it, &limiter)) {
            changed.push(limiter);
        }
    }
    if context.stopping.is_cancelled() {
        // The shutdown may have drained the queues before.
        refused.extend(changed.iter().flat_map(|limiter| limiter.drain()));
    }
    context.release_in_background(refused);
    for limiter in changed {
        start_requests(context, &limiter);
    }
}

/// Starts every request that the limiter admits now.
pub(super) fn start_requests(context: &Arc<Context>, limiter: &Arc<Limiter>) {
    start_requests_of(context, limiter, Turn::Out);
}

/// Whether a limiter has its turn in the queue for function workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    In,
    Out,
}

fn start_requests_of(context: &Arc<Context>, limiter: &Arc<Limiter>, turn: Turn) {
    // With the token, a shutdown that begins after the check waits for the request that is spawned.
    let _token = context.requests.token();
    while !context.stopping.is_cancelled()
        && let Some(first) = next(context, limiter, turn)
    {
        let task = run(Arc::clone(context), Arc::clone(limiter), first);
        context.requests.spawn_on(task, &context.parts.deliver_on);
    }
}

/// Executes one request after another until the limiter admits none.
async fn run(context: Arc<Context>, limiter: Arc<Limiter>, first: Admitted) {
    let mut admitted = Some(first);
    while let Some(request) = admitted {
        let mapping_id = request.mapping_id;
        let (execution, completed) = request.execute().await;
        let Execution { mut released, postponed, has_batches, .. } = execution;
        log_circuit_change(&context, mapping_id, &completed);
        released.extend(completed.drained);
        if context.stopping.is_cancelled() {
            released.append(&mut limiter.drain());
        }
        context.release_in_background(released);
        context.postpone_in_background(postponed);
        if completed.wants_claim || completed.closed {
            context.claim_wanted.notify_one();
        }
        start_waiting(&context);
        let is_stopping = context.stopping.is_cancelled();
        admitted = if is_stopping { None } else { next(&context, &limiter, Turn::Out) };
        if has_batches {
            start_requests(&context, &limiter);
        }
    }
}

/// The limiter's next request, if the limit over all destinations admits it too and there is room for its
/// record.
fn next(context: &Arc<Context>, limiter: &Arc<Limiter>, turn: Turn) -> Option<Admitted> {
    if !limiter.right.lasts(|| context.parts.clock.uptime()) {
        return None;
    }
    let is_over_limit = context.in_flight.load(Ordering::Relaxed) >= context.parts.max_in_flight
        && limiter.in_flight() >= GUARANTEED_IN_FLIGHT;
    if is_over_limit || !context.completions.has_room() {
        let mut waiting = context.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|it| Arc::ptr_eq(it, limiter)) {
            waiting.push_back(Arc::clone(limiter));
        }
        drop(waiting);
        // The last record may have been written between the check and the wait.
        if is_over_limit || !context.completions.has_room() {
            return None;
        }
    }
    let may_take_worker = turn == Turn::In || context.worker_queue.is_empty();
    match limiter.next(context.parts.clock.service_now(), may_take_worker) {
        NextRequest::Start { mapping_id, dequeued, reservation, wants_claim, worker } => {
            context.in_flight.fetch_add(1, Ordering::Relaxed);
            // Before it is executed: the lease reaper must find it in the queue or in hand.
            context.in_hand.take(&dequeued.leases());
            if wants_claim {
                context.claim_wanted.notify_one();
            }
            Some(Admitted {
                context: Arc::clone(context),
                limiter: Arc::clone(limiter),
                mapping_id,
                dequeued: Some(dequeued),
                worker,
                reservation: Some(reservation),
                has_ended: false,
            })
        }
        NextRequest::NoWorker(until) => {
            context.worker_queue.push(limiter);
            if turn == Turn::Out && context.parts.functions.has_free_slot() {
                // It may have been freed before the wait, or be free for others that wait only.
                context.parts.functions.notify();
            }
            if let Some(at) = until {
                set_timer(context, limiter, at);
            }
            None
        }
        NextRequest::NotBefore(at) => {
            set_timer(context, limiter, at);
            None
        }
        NextRequest::Nothing => None,
    }
}

fn set_timer(context: &Arc<Context>, limiter: &Arc<Limiter>, at: ServiceTime) {
    let (timer_context, limiter) = (Arc::clone(context), Arc::clone(limiter));
    context.tasks.spawn(async move {
        tokio::select! {
            () = timer_context.parts.clock.sleep_until(at) => {
                limiter.timer_fired();
                start_requests(&timer_context, &limiter);
            }
            () = timer_context.stopping.cancelled() => {}
        }
    });
}

/// A slot below the limit over all destinations is free: the limiter that has waited longest may use it.
fn start_waiting(context: &Arc<Context>) {
    let waiting = context.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    if let Some(limiter) = waiting {
        start_requests(context, &limiter);
    }
}

/// Attempts were recorded, so that there is room for further ones: every waiting limiter may go on.
pub(super) fn start_all_waiting(context: &Arc<Context>) {
    let waiting =
        std::mem::take(&mut *context.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    for limiter in waiting {
        start_requests(context, &limiter);
    }
}

/// Starts requests of the limiters that wait for a function worker, oldest first, whenever one is free.
pub(super) async fn serve_worker_queue(context: Arc<Context>) {
    let functions = &context.parts.functions;
    loop {
        tokio::select! {
            () = functions.slot_freed() => {}
            () = context.stopping.cancelled() => return,
        }
        let mut waiting = context.worker_queue.take();
        while functions.has_free_slot()
            && let Some(limiter) = waiting.pop_front()
        {
            start_requests_of(&context, &limiter, Turn::In);
        }
        context.worker_queue.put_back(waiting);
    }
}

fn log_circuit_change(context: &Context, mapping_id: MappingId, completed: &Completed) {
    if completed.circuit_changed && context.shares() {
        context.unshared.note_circuit(mapping_id);
    }
    if !completed.opened && !completed.closed {
        return;
    }
    let routes = context.parts.routes.current();
    let mapping = routes.mapping(mapping_id).map_or("(removed)", |it| it.name.as_str());
    if completed.opened {
        tracing::warn!(mapping, "circuit opened: only probes are sent until one succeeds");
    } else {
        tracing::info!(mapping, "circuit closed: a probe succeeded");
    }
}
