//! The limiter of one destination: its requests in flight, its rate limit, and the queues of its
//! mappings. It schedules the queues round-robin and keeps one in-flight slot for each, so that a slow
//! mapping cannot starve another. No I/O: the caller sends what it admits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::batch::Batch;
use super::circuit_breaker::Verdict;
use super::function_stage::FunctionStage;
use super::lease::lease_of;
use super::memory_budget::{MemoryBudget, Reservation};
use super::ownership::StartRight;
use super::pacing::{Draining, HeldBacklog, QueueSettings, Waits};
use super::queue::{Demand, Dequeued, MappingQueue, Readiness};
use crate::domain::destination::DestinationSettings;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::pause::{Drain, PauseTarget};
use crate::domain::service_time::ServiceTime;
use crate::functions::FunctionSlot;
use crate::store::{LeaseRef, LeasedDelivery};

/// Requests may start this much ahead of the rate's even spacing: timers are no finer.
const RATE_SLACK: Duration = Duration::from_millis(10);

/// What the limiter admits next.
#[derive(Debug)]
pub(super) enum NextRequest {
    /// One request, to be sent now; [`Limiter::complete`] ends it.
    Start {
        /// The mapping.
        mapping_id: MappingId,
        /// What the request is made of.
        dequeued: Dequeued,
        /// Its memory, reserved until the request has ended.
        reservation: Reservation,
        /// Whether the mapping's next batch should be claimed meanwhile.
        wants_claim: bool,
        /// The worker that its function runs in first, if it has one.
        worker: Option<FunctionSlot>,
    },
    /// Nothing until a function worker is free; with a time, the caller sets a timer as well.
    NoWorker(Option<ServiceTime>),
    /// Nothing before this time. The caller sets the timer: the limiter asks for one at a time.
    NotBefore(ServiceTime),
    /// Nothing until something else changes.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    /// Until when this node may start requests: another may own the destination.
    pub(super) right: StartRight,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) max_in_flight: u32,
    pub(super) spacing: Option<Duration>,
    in_flight: u32,
    pub(super) next_start_at: ServiceTime,
    pub(super) queues: Vec<MappingQueue>,
    /// What receivers asked to wait for.
    pub(super) waits: Waits,
    /// How the destination's pause drains.
    pub(super) draining: Option<Draining>,
    /// Drains that have ended and are to be stored.
    pub(super) drained: Vec<(PauseTarget, ServiceTime)>,
    pub(super) destination_id: DestinationId,
    /// The most that a request takes; none unless the limits hold over all nodes.
    pub(super) attempt: Option<Duration>,
    /// Spreads starts after a wait.
    rng: StdRng,
    budget: MemoryBudget,
    /// The queue that the round-robin starts at.
    cursor: usize,
    /// The queue that the next claim begins with.
    claim_from: usize,
    /// When the timer that a caller has set fires.
    pub(super) timer_at: Option<ServiceTime>,
}

impl Limiter {
    /// All limiters share one memory budget.
    pub(super) fn new(destination_id: DestinationId, budget: MemoryBudget, seed: u64) -> Self {
        Self {
            right: StartRight::always(),
            state: Mutex::new(State {
                budget,
                max_in_flight: 1,
                spacing: None,
                in_flight: 0,
                next_start_at: ServiceTime::default(),
                queues: Vec::new(),
                waits: Waits::default(),
                draining: None,
                drained: Vec::new(),
                destination_id,
                attempt: None,
                rng: StdRng::seed_from_u64(seed),
                cursor: 0,
                claim_from: 0,
                timer_at: None,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the destination's limits, how its pause drains, and its mappings that deliver. Returns the
    /// leases in the queues of mappings that no longer do.
    pub(super) fn configure(
        &self,
        settings: &DestinationSettings,
        drain: Option<Drain>,
        enabled: &[QueueSettings],
    ) -> Vec<LeaseRef> {
        let mut state = self.state();
        state.max_in_flight = settings.max_in_flight;
        state.spacing = settings.rate_per_second.map(|rate| Duration::from_secs(1) / rate);
        let mut drained = Vec::new();
        for queue in &mut state.queues {
            queue.enabled = enabled.iter().any(|it| it.mapping_id == queue.mapping_id);
            if !queue.enabled {
                drained.append(&mut queue.drain());
            }
        }
        state.queues.retain(|queue| queue.enabled || queue.in_flight > 0 || queue.reserved() > 0);
        for it in enabled {
            if state.queue(it.mapping_id).is_none() {
                let budget = state.budget.clone();
                state.queues.push(MappingQueue::new(it.mapping_id, budget));
            }
            if let Some(until) = it.wait_until {
                state.waits.extend(it.receiver.clone(), until);
            }
            if let Some(queue) = state.queue(it.mapping_id) {
                queue.batching = it.batching;
                queue.receiver = it.receiver.clone();
                queue.draining = kept_draining(queue.draining, it.drain);
                queue.backlog = HeldBacklog::of([it.drain, drain]);
            }
        }
        state.draining = kept_draining(state.draining, drain);
        drained
    }

    /// Reserves slots for up to `count` deliveries that are about to be committed as leased.
    pub(super) fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        let mut state = self.state();
        let State { queues, waits, .. } = &mut *state;
        let Some(queue) = queues.iter_mut().find(|it| it.mapping_id == mapping_id) else {
            return 0;
        };
        // A backlog that is held back or drains is claimed in the order of due times.
        let is_held_back = queue.backlog.is_some() || waits.has(&queue.receiver);
        if !queue.enabled || queue.breaker.is_open() || is_held_back {
            return 0;
        }
        queue.reserve(count)
    }

    /// Releases reserved slots that were not used.
    pub(super) fn release(&self, mapping_id: MappingId, count: u32) {
        if let Some(queue) = self.state().queue(mapping_id) {
            queue.release(count);
        }
    }

    /// Queues a leased delivery, in its slot if it had `reserved` one. Returns its lease when the queue
    /// refuses it: its circuit has opened or its mapping was disabled meanwhile.
    pub(super) fn push(
        &self,
        delivery: LeasedDelivery,
        reserved: bool,
        now: ServiceTime,
    ) -> Option<LeaseRef> {
        let mut state = self.state();
        let lease = lease_of(&delivery);
        let Some(queue) = state.queue(delivery.mapping_id) else { return Some(lease) };
        if reserved {
            queue.release(1);
        }
        let is_probe = queue.breaker.is_open() && !reserved;
        if queue.enabled && (is_probe || !queue.breaker.is_open()) {
            queue.push(delivery, !reserved, now);
            None
        } else {
            if is_probe {
                queue.breaker.set_probe_in_flight(false);
            }
            Some(lease)
        }
    }

    /// Queues rendered batches in front of the mapping's other deliveries. Returns their leases when the
    /// queue refuses them.
    pub(super) fn push_batches(&self, mapping_id: MappingId, batches: Vec<Batch>) -> Vec<LeaseRef> {
        let mut state = self.state();
        match state.queue(mapping_id) {
            Some(queue) if queue.enabled && !queue.breaker.is_open() => {
                queue.push_batches(batches);
                Vec::new()
            }
            Some(_) | None => {
                let deliveries = batches.into_iter().flat_map(Batch::into_deliveries);
                deliveries.map(|it| lease_of(&it)).collect()
            }
        }
    }

    /// The next request to send, round-robin over the queues. One that needs a function worker is passed over
    /// while none is free or, without `may_take_worker`, while other limiters wait for one.
    pub(super) fn next(&self, now: ServiceTime, may_take_worker: bool) -> NextRequest {
        let mut state = self.state();
        if state.in_flight >= state.max_in_flight {
            return NextRequest::Nothing;
        }
        state.waits.forget_past(now);
        if let Some(until) = state.draining.and_then(|it| it.not_before(now)) {
            return state.wait(Some(until));
        }
        let (at, worker) = match state.ready_queue(now, may_take_worker) {
            Ready::Queue(at, worker) => (at, worker),
            Ready::NoWorker(until) => return NextRequest::NoWorker(state.timer(until)),
            Ready::NotBefore(until) => return state.wait(until),
        };
        if let Some(spacing) = state.spacing {
            state.next_start_at = state.next_start_at.max(now) + spacing;
        }
        let count = state.queues.len();
        let queue = &mut state.queues[at];
        let Some((dequeued, reservation)) = queue.dequeue() else { return NextRequest::Nothing };
        queue.in_flight += 1;
        let (mapping_id, wants_claim) = (queue.mapping_id, queue.wants_next_batch(now));
        state.in_flight += 1;
        state.cursor = (at + 1) % count;
        // A call of a function sends nothing: what it renders is sent by requests of its own.
        if worker.is_none() || dequeued.len() == 1 {
            state.note_start(at, dequeued.len(), now);
        }
        NextRequest::Start { mapping_id, dequeued, reservation, wants_claim, worker }
    }

    /// The timer that [`NextRequest::NotBefore`] asked for has fired.
    pub(super) fn timer_fired(&self) {
        self.state().timer_at = None;
    }

    /// Ends a request that `next` started, with its verdict on the receiver.
    pub(super) fn complete(
        &self,
        mapping_id: MappingId,
        verdict: Verdict,
        now: ServiceTime,
    ) -> Completed {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        let Some(queue) = state.queue(mapping_id) else { return Completed::default() };
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let probed_at = queue.breaker.circuit(mapping_id).map(|it| it.probe_at);
        let changed = queue.breaker.record(verdict, now);
        let opened = changed && queue.breaker.is_open();
        Completed {
            drained: if opened { queue.drain() } else { Vec::new() },
            opened,
            closed: changed && !opened,
            circuit_changed: queue.breaker.circuit(mapping_id).map(|it| it.probe_at) != probed_at,
            wants_claim: queue.is_low() && queue.next_due.is_some(),
        }
    }

    /// Notes that a delivery of this mapping is due at this time.
    pub(super) fn note_due(&self, mapping_id: MappingId, due_at: ServiceTime) {
        if let Some(queue) = self.state().queue(mapping_id) {
            queue.next_due = Some(queue.next_due.map_or(due_at, |known| known.min(due_at)));
        }
    }

    /// Every queue's demand; those for now together take at most the allowance, and what it does not cover is a
    /// demand of the next call. A queue with a demand for now forgets its due time: the claim's result
    /// brings the next one, and what is noted meanwhile is not overwritten by that result.
    pub(super) fn demands(
        &self,
        now: ServiceTime,
        allowance: &mut u32,
    ) -> Vec<(MappingId, Demand)> {
        let mut state = self.state();
        let State { queues, waits, claim_from, .. } = &mut *state;
        let count = queues.len();
        let first = claim_from.checked_rem(count).unwrap_or(0);
        let mut demands = Vec::new();
        for index in (first..count).chain(0..first) {
            let queue = &mut queues[index];
            let mut demand = match (queue.next_due, waits.until(&queue.receiver, now)) {
                (Some(due), Some(until)) if queue.enabled => Demand::At(until.max(due)),
                (_, Some(_)) => Demand::None,
                (_, None) => queue.demand(now),
            };
            if let Demand::Now(room) = demand {
                let limit = room.min(queue.claim_size()).min(*allowance);
                if limit == 0 {
                    continue;
                }
                *allowance -= limit;
                demand = Demand::Now(limit);
                *claim_from = index + 1;
                queue.next_due = None;
                queue.claiming = true;
                queue.breaker.set_probe_in_flight(true);
            }
            if demand != Demand::None {
                demands.push((queue.mapping_id, demand));
            }
        }
        demands
    }

    /// Ends a claim for this queue. A claim that returned nothing started no probe.
    pub(super) fn claim_ended(&self, mapping_id: MappingId, has_deliveries: bool) {
        if let Some(queue) = self.state().queue(mapping_id) {
            queue.claiming = false;
            if !has_deliveries {
                queue.breaker.set_probe_in_flight(false);
            }
        }
    }

    /// Removes queued deliveries whose lease expires before `until`; returns the leases.
    pub(super) fn drain_expiring(&self, until: ServiceTime) -> Vec<LeaseRef> {
        self.state().queues.iter_mut().flat_map(|queue| queue.drain_expiring(until)).collect()
    }

    /// Empties every queue at shutdown; returns the leases.
    pub(super) fn drain(&self) -> Vec<LeaseRef> {
        self.state().queues.iter_mut().flat_map(MappingQueue::drain).collect()
    }

    /// The mappings whose circuit is open, each with the time it opened.
    pub(super) fn open_circuits(&self) -> Vec<(MappingId, ServiceTime)> {
        let state = self.state();
        let open = |queue: &MappingQueue| Some((queue.mapping_id, queue.breaker.opened_at()?));
        state.queues.iter().filter_map(open).collect()
    }

    /// The earliest due time known to an enabled queue.
    pub(super) fn oldest_due(&self) -> Option<ServiceTime> {
        self.state().queues.iter().filter(|it| it.enabled).filter_map(|it| it.next_due).min()
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> u32 {
        self.state().in_flight
    }
}

/// What follows from the end of a request.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// The leases that the queue held when its circuit opened; to be released.
    pub(super) drained: Vec<LeaseRef>,
    /// Whether it opened the circuit.
    pub(super) opened: bool,
    /// Whether the circuit opened or closed, or a probe failed.
    pub(super) circuit_changed: bool,
    /// Whether it closed the circuit.
    pub(super) closed: bool,
    /// Whether the queue should be refilled from the store.
    pub(super) wants_claim: bool,
}

/// The queue that the next request is of.
enum Ready {
    /// Its number, and the worker for its function.
    Queue(usize, Option<FunctionSlot>),
    /// None: a function worker is lacking. Another queue is ready at this time.
    NoWorker(Option<ServiceTime>),
    /// None before this time.
    NotBefore(Option<ServiceTime>),
}

impl State {
    pub(super) fn queue(&mut self, mapping_id: MappingId) -> Option<&mut MappingQueue> {
        self.queues.iter_mut().find(|queue| queue.mapping_id == mapping_id)
    }

    /// The next queue, round-robin, that is ready and below its in-flight share: one slot is kept for
    /// each of the other queues, as far as the limit allows. Without one, the earliest time that one
    /// becomes ready.
    fn ready_queue(&mut self, now: ServiceTime, may_take_worker: bool) -> Ready {
        let spaced_until = self.spacing.map(|_| self.next_start_at - RATE_SLACK);
        let count = self.queues.len();
        let enabled = self.queues.iter().filter(|queue| queue.enabled).count();
        let others = u32::try_from(enabled.saturating_sub(1)).unwrap_or(u32::MAX);
        let share = self.max_in_flight.saturating_sub(others).max(1);
        let mut earliest: Option<ServiceTime> = None;
        let mut lacks_worker = false;
        for at in (0..count).map(|step| (self.cursor + step) % count) {
            let queue = &self.queues[at];
            match queue.readiness(now) {
                Readiness::Now if queue.in_flight < share => {
                    if let Some(until) = self.not_before(queue, now) {
                        note(&mut earliest, until);
                        continue;
                    }
                    if let Some(until) = spaced_until.filter(|until| *until > now) {
                        return Ready::NotBefore(Some(until));
                    }
                    if !queue.needs_worker() {
                        return Ready::Queue(at, None);
                    }
                    let stage = self.queues[at].function.as_mut().filter(|_| may_take_worker);
                    match stage.and_then(FunctionStage::try_worker) {
                        Some(worker) => return Ready::Queue(at, Some(worker)),
                        None => lacks_worker = true,
                    }
                }
                Readiness::Now | Readiness::Empty => {}
                Readiness::At(until) => note(&mut earliest, until),
            }
        }
        if lacks_worker { Ready::NoWorker(earliest) } else { Ready::NotBefore(earliest) }
    }

    /// The time before which a queue's receiver or its drain admits no request; none: it does now.
    fn not_before(&self, queue: &MappingQueue, now: ServiceTime) -> Option<ServiceTime> {
        let draining = queue.draining.and_then(|it| it.not_before(now));
        self.waits.not_before(&queue.receiver, now).max(draining)
    }

    /// Notes that a request with this many deliveries of a queue starts.
    fn note_start(&mut self, at: usize, deliveries: usize, now: ServiceTime) {
        let queue = &mut self.queues[at];
        if let Some(draining) = &mut queue.draining {
            draining.started(deliveries, now);
        }
        if let Some(draining) = &mut self.draining {
            draining.started(deliveries, now);
        }
        if self.waits.has(&queue.receiver) {
            self.waits.started(&queue.receiver, now, self.rng.random());
        }
        if queue.backlog.is_some() {
            self.end_drains();
        }
    }

    /// Ends drains of which nothing is left; a destination's when none is left of any mapping.
    pub(super) fn end_drains(&mut self) {
        for queue in self.queues.iter_mut().filter(|queue| queue.has_drained()) {
            queue.backlog = None;
            if let Some(draining) = queue.draining.take() {
                let target = PauseTarget::Mapping(queue.mapping_id);
                self.drained.push((target, draining.drain.resumed_at));
            }
        }
        if self.queues.iter().all(|it| it.backlog.is_none() || !it.enabled)
            && let Some(draining) = self.draining.take()
        {
            let target = PauseTarget::Destination(self.destination_id);
            self.drained.push((target, draining.drain.resumed_at));
        }
    }

    /// Nothing before `until`: asks for a timer, unless one that fires earlier is set.
    fn wait(&mut self, until: Option<ServiceTime>) -> NextRequest {
        self.timer(until).map_or(NextRequest::Nothing, NextRequest::NotBefore)
    }

    /// The time that the caller is to set a timer for, if any.
    fn timer(&mut self, until: Option<ServiceTime>) -> Option<ServiceTime> {
        let until = until.filter(|until| self.timer_at.is_none_or(|known| known > *until))?;
        self.timer_at = Some(until);
        Some(until)
    }
}

/// The earliest of the times noted.
fn note(earliest: &mut Option<ServiceTime>, at: ServiceTime) {
    *earliest = Some(earliest.map_or(at, |known| known.min(at)));
}

/// How a pause drains, after a reload: starts stay spaced from the last one.
fn kept_draining(current: Option<Draining>, drain: Option<Drain>) -> Option<Draining> {
    match (current, drain) {
        (Some(current), Some(drain)) if current.drain == drain => Some(current),
        (_, drain) => drain.map(Draining::of),
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
