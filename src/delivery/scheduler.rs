//! The scheduler: starts requests as the limiters and the limit over all destinations admit them, and
//! continues when a request ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::context::Context;
use super::lease::lease_of;
use super::limiter::{Completed, Limiter, NextRequest};
use super::memory_budget::Reservation;
use super::outcome::Execution;
use super::queue::Dequeued;
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::store::LeasedDelivery;

/// Requests that a destination may have in flight even while the limit over all destinations is reached.
const GUARANTEED_IN_FLIGHT: u32 = 2;

/// An admitted request.
struct Admitted {
    mapping_id: MappingId,
    dequeued: Dequeued,
    reservation: Reservation,
}

/// Queues leased deliveries at their limiters and starts the requests that are admitted. Deliveries of
/// mappings that do not deliver are released.
pub(super) fn enqueue(context: &Arc<Context>, deliveries: Vec<LeasedDelivery>, reserved: bool) {
    let now = context.parts.clock.now();
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
    context.release_in_background(refused);
    for limiter in changed {
        start_requests(context, &limiter);
    }
}

/// Starts every request that the limiter admits now.
pub(super) fn start_requests(context: &Arc<Context>, limiter: &Arc<Limiter>) {
    while let Some(first) = next(context, limiter) {
        let task = run(Arc::clone(context), Arc::clone(limiter), first);
        context.requests.spawn_on(task, &context.parts.deliver_on);
    }
}

/// Executes one request after another until the limiter admits none.
async fn run(context: Arc<Context>, limiter: Arc<Limiter>, first: Admitted) {
    let mut admitted = Some(first);
    while let Some(Admitted { mapping_id, dequeued, reservation }) = admitted {
        let Execution { records, mut released, batches, verdict } =
            context.execute(mapping_id, dequeued).await;
        let has_batches = !batches.is_empty();
        released.append(&mut limiter.push_batches(mapping_id, batches));
        drop(reservation);
        let completed = limiter.complete(mapping_id, verdict, context.parts.clock.now());
        context.in_flight.fetch_sub(1, Ordering::Relaxed);
        log_circuit_change(&context, mapping_id, &completed);
        // Backpressure: while the completion queue is full, no further request starts here.
        context.completions.send(records).await;
        released.extend(completed.drained);
        if context.stopping.is_cancelled() {
            released.append(&mut limiter.drain());
        }
        context.release_in_background(released);
        if completed.wants_claim || completed.closed {
            context.claim_wanted.notify_one();
        }
        start_starved(&context);
        admitted = if context.stopping.is_cancelled() { None } else { next(&context, &limiter) };
        if has_batches {
            start_requests(&context, &limiter);
        }
    }
}

/// The limiter's next request, if the limit over all destinations admits it too.
fn next(context: &Arc<Context>, limiter: &Arc<Limiter>) -> Option<Admitted> {
    if context.in_flight.load(Ordering::Relaxed) >= context.parts.max_in_flight
        && limiter.in_flight() >= GUARANTEED_IN_FLIGHT
    {
        let mut starved = context.starved.lock().unwrap_or_else(PoisonError::into_inner);
        if !starved.iter().any(|it| Arc::ptr_eq(it, limiter)) {
            starved.push_back(Arc::clone(limiter));
        }
        return None;
    }
    match limiter.next(context.parts.clock.now()) {
        NextRequest::Start { mapping_id, dequeued, reservation, wants_claim } => {
            context.in_flight.fetch_add(1, Ordering::Relaxed);
            if wants_claim {
                context.claim_wanted.notify_one();
            }
            Some(Admitted { mapping_id, dequeued, reservation })
        }
        NextRequest::NotBefore(at) => {
            set_timer(context, limiter, at);
            None
        }
        NextRequest::Nothing => None,
    }
}

fn set_timer(context: &Arc<Context>, limiter: &Arc<Limiter>, at: Timestamp) {
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

/// A slot below the limit over all destinations is free: the longest starved limiter may use it.
fn start_starved(context: &Arc<Context>) {
    let starved = context.starved.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    if let Some(limiter) = starved {
        start_requests(context, &limiter);
    }
}

fn log_circuit_change(context: &Context, mapping_id: MappingId, completed: &Completed) {
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
