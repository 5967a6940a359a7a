//! The in-memory queue of one mapping: its prefetched deliveries, when they may be sent, and how many
//! more to claim. With batching, deliveries linger here until the batch is full, the linger time is
//! over, or nothing more is due. No I/O and no clock: the caller passes the time.

use std::collections::VecDeque;

use super::batch::{Batch, OneOrMany};
use super::circuit_breaker::{Admission, CircuitBreaker};
use super::function_stage::FunctionStage;
use super::lease::lease_of;
use super::memory_budget::{
    Headroom, MemoryBudget, QueueBudget, Reservation, delivery_bytes, document_bytes,
};
use super::pacing::{Draining, HeldBacklog, Receiver};
use crate::domain::id::MappingId;
use crate::domain::mapping::Batching;
use crate::domain::service_time::ServiceTime;
use crate::store::{LeaseRef, LeasedDelivery};

/// A queue's fair share of the memory budget, in deliveries; two batches where that is more.
pub(super) const FAIR_CAPACITY: u32 = 1_024;
/// Its capacity while the memory budget is ample: a delivery that never leaves memory costs no second
/// write and read.
pub(super) const MAX_CAPACITY: u32 = 4_096;
/// Its capacity when the memory budget is exhausted.
pub(super) const MIN_CAPACITY: u32 = 64;
/// The capacity that a queue has among however many others.
const LEAST_CAPACITY: u32 = 4;
/// Deliveries of one mapping in one claim.
pub(super) const CLAIM_SIZE: u32 = 256;
/// The same for a mapping with batching.
const BATCHING_CLAIM_SIZE: u32 = 1_024;
/// The queue is refilled from the store at this length; at a batch where that is more.
const LOW_WATERMARK: u32 = 256;
/// Bytes of documents in one queue above which it takes no more.
const MAX_BYTES: usize = 16 << 20;

/// What one request is made of.
#[derive(Debug)]
pub(super) enum Dequeued {
    /// Deliveries of one mapping, not rendered yet.
    Deliveries(OneOrMany<LeasedDelivery>),
    /// A batch that was rendered earlier: split off, or left over from another request.
    Batch(Box<Batch>),
}

impl Dequeued {
    /// The leases of its deliveries.
    pub(super) fn leases(&self) -> OneOrMany<LeaseRef> {
        match self {
            Self::Deliveries(deliveries) => deliveries.iter().map(lease_of).collect(),
            Self::Batch(batch) => batch.deliveries().map(lease_of).collect(),
        }
    }

    /// How many deliveries it has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Deliveries(deliveries) => deliveries.len(),
            Self::Batch(batch) => batch.len(),
        }
    }

    /// Its deliveries.
    pub(super) fn into_deliveries(self) -> OneOrMany<LeasedDelivery> {
        match self {
            Self::Deliveries(deliveries) => deliveries,
            Self::Batch(batch) => batch.into_deliveries().collect(),
        }
    }
}

/// What the queue wants from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Up to this many due deliveries, now.
    Now(u32),
    /// Something at this time.
    At(ServiceTime),
    /// Nothing until something else changes.
    None,
}

/// When the queue has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Now.
    Now,
    /// At this time: the end of the linger time, unless the batch fills up earlier.
    At(ServiceTime),
    /// Nothing is queued.
    Empty,
}

#[derive(Debug)]
struct Entry {
    delivery: LeasedDelivery,
    /// The length of its document.
    document_bytes: usize,
    /// Its charge on the memory budget.
    budget_bytes: usize,
    queued_at: ServiceTime,
    /// Whether it was claimed from the store rather than dispatched by intake.
    is_claimed: bool,
}

#[derive(Debug)]
pub(super) struct MappingQueue {
    pub(super) mapping_id: MappingId,
    pub(super) enabled: bool,
    pub(super) batching: Option<Batching>,
    /// Where its requests go.
    pub(super) receiver: Receiver,
    /// What a pause held of it, while that drains.
    pub(super) backlog: Option<HeldBacklog>,
    /// How its own pause drains.
    pub(super) draining: Option<Draining>,
    /// Runs its deliveries through the mapping's function before they are sent; none without one.
    pub(super) function: Option<FunctionStage>,
    /// Slots that intake has reserved for deliveries about to be committed.
    reserved: u32,
    /// Requests in flight.
    pub(super) in_flight: u32,
    pub(super) breaker: CircuitBreaker,
    /// The earliest due time in the store, as far as it is known.
    pub(super) next_due: Option<ServiceTime>,
    /// Whether a claim for this mapping is in progress.
    pub(super) claiming: bool,
    entries: VecDeque<Entry>,
    document_bytes: usize,
    claimed: usize,
    batches: VecDeque<(Batch, Reservation)>,
    batched: usize,
    budget: QueueBudget,
}

impl MappingQueue {
    pub(super) fn new(mapping_id: MappingId, budget: MemoryBudget) -> Self {
        Self {
            budget: budget.queue(),
            mapping_id,
            enabled: true,
            batching: None,
            receiver: Receiver::Mapping(mapping_id),
            backlog: None,
            draining: None,
            function: None,
            reserved: 0,
            in_flight: 0,
            breaker: CircuitBreaker::default(),
            next_due: None,
            claiming: false,
            entries: VecDeque::new(),
            document_bytes: 0,
            claimed: 0,
            batches: VecDeque::new(),
            batched: 0,
        }
    }

    /// Reserves up to so many slots, as far as there is room.
    pub(super) fn reserve(&mut self, count: u32) -> u32 {
        let granted = count.min(self.room());
        self.reserved += granted;
        self.budget.reserve_slots(to_usize(granted));
        granted
    }

    /// Releases reserved slots.
    pub(super) fn release(&mut self, count: u32) {
        let released = count.min(self.reserved);
        self.reserved -= released;
        self.budget.release_slots(to_usize(released));
    }

    pub(super) const fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Appends a delivery.
    pub(super) fn push(&mut self, delivery: LeasedDelivery, is_claimed: bool, now: ServiceTime) {
        let (document_bytes, budget_bytes) = (document_bytes(&delivery), delivery_bytes(&delivery));
        self.document_bytes += document_bytes;
        self.claimed += usize::from(is_claimed);
        self.budget.enqueue(budget_bytes);
        let entry = Entry { delivery, document_bytes, budget_bytes, queued_at: now, is_claimed };
        self.entries.push_back(entry);
    }

    /// Prepends rendered batches, in front of those already there: a rejected batch is split down to
    /// single events before its leases expire, however many other batches are being split.
    pub(super) fn push_batches(&mut self, batches: Vec<Batch>) {
        for batch in batches.into_iter().rev() {
            self.batched += batch.len();
            let bytes = batch.deliveries().map(|it| delivery_bytes(it) + document_bytes(it)).sum();
            self.batches.push_front((batch, self.budget.reserve(bytes)));
        }
    }

    /// When it has something to send.
    pub(super) fn readiness(&self, now: ServiceTime) -> Readiness {
        if !self.batches.is_empty() {
            return Readiness::Now;
        }
        let Some(first) = self.entries.front() else { return Readiness::Empty };
        let Some(batching) = self.batching.filter(|_| !self.breaker.is_open()) else {
            return Readiness::Now;
        };
        // Without room, and with nothing in flight or reserved that would make room, the batch cannot grow.
        let cannot_grow = || self.in_flight == 0 && self.reserved == 0 && self.room() == 0;
        let is_full = self.len() >= batching.size
            || self.document_bytes >= Batching::BODY_BYTES
            || cannot_grow();
        // Claimed deliveries have lingered in the store: they wait only for more that is due there.
        let is_complete = self.claimed > 0 && !self.claiming && !self.has_due(now);
        let until = first.queued_at + batching.linger();
        if is_full || is_complete || until <= now { Readiness::Now } else { Readiness::At(until) }
    }

    /// What the next request is made of has to go through the mapping's function first.
    pub(super) fn needs_worker(&self) -> bool {
        self.function.is_some() && self.batches.is_empty()
    }

    /// Deliveries that wait for a worker.
    pub(super) fn waits_for_worker(&self) -> usize {
        if self.function.is_some() { self.entries.len() } else { 0 }
    }

    /// Deliveries of the next request at most. The probe of an open circuit is a single delivery.
    fn max_dequeued(&self) -> u32 {
        match (self.batching, &self.function) {
            _ if self.breaker.is_open() => 1,
            (Some(batching), _) => batching.size,
            (None, Some(function)) => function.call_size(),
            (None, None) => 1,
        }
    }

    /// Takes out what the next request is made of.
    pub(super) fn dequeue(&mut self) -> Option<(Dequeued, Reservation)> {
        if let Some((batch, reservation)) = self.batches.pop_front() {
            self.batched = self.batched.saturating_sub(batch.len());
            return Some((Dequeued::Batch(Box::new(batch)), reservation));
        }
        let max = self.max_dequeued();
        let mut deliveries = OneOrMany::with_capacity(self.entries.len().min(to_usize(max)));
        let (mut document_bytes, mut budget_bytes) = (0, 0);
        while deliveries.len() < to_usize(max)
            && let Some(next) = self.entries.pop_front_if(|next| {
                deliveries.is_empty()
                    || document_bytes + next.document_bytes <= Batching::BODY_BYTES
            })
        {
            document_bytes += next.document_bytes;
            budget_bytes += next.budget_bytes;
            self.claimed -= usize::from(next.is_claimed);
            deliveries.push(next.delivery);
        }
        self.document_bytes = self.document_bytes.saturating_sub(document_bytes);
        let mut reservation = self.budget.dequeue(deliveries.len(), budget_bytes);
        if deliveries.len() > 1 {
            // The array is a copy of the documents.
            reservation.grow(document_bytes);
        }
        if deliveries.is_empty() {
            None
        } else {
            Some((Dequeued::Deliveries(deliveries), reservation))
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    fn has_due(&self, now: ServiceTime) -> bool {
        self.next_due.is_some_and(|due| due <= now)
    }

    fn batch_size(&self) -> u32 {
        self.batching.map_or(0, |it| it.size)
    }

    /// How many more deliveries it may hold.
    pub(super) fn room(&self) -> u32 {
        if self.document_bytes >= MAX_BYTES {
            return 0;
        }
        let batched = u32::try_from(self.batched).unwrap_or(u32::MAX);
        let used = self.len().saturating_add(batched).saturating_add(self.reserved);
        let two_batches = self.batch_size().saturating_mul(2);
        // The bounds on one queue, as far as its share of the budget is not less.
        let capacity = match self.budget.headroom() {
            Headroom::Ample => MAX_CAPACITY.max(two_batches),
            Headroom::FairShare => {
                FAIR_CAPACITY.max(two_batches).min(self.budget.share(1).max(LEAST_CAPACITY))
            }
            Headroom::Minimum => MIN_CAPACITY.min(self.budget.share(2).max(LEAST_CAPACITY)),
        };
        // What a function's workers cannot take soon stays pending.
        let workers = self
            .function
            .as_ref()
            .map_or(u32::MAX, |it| it.capacity().max(MIN_CAPACITY).max(self.batch_size()));
        capacity.min(workers).saturating_sub(used)
    }

    /// How many deliveries one claim leases for it at most.
    pub(super) const fn claim_size(&self) -> u32 {
        if self.batching.is_some() { BATCHING_CLAIM_SIZE } else { CLAIM_SIZE }
    }

    /// Whether it should be refilled from the store.
    pub(super) fn is_low(&self) -> bool {
        self.len() <= LOW_WATERMARK.max(self.batch_size())
    }

    /// What it wants from the store.
    pub(super) fn demand(&self, now: ServiceTime) -> Demand {
        let Some(due) = self.next_due.filter(|_| self.enabled) else { return Demand::None };
        match self.breaker.admission(now) {
            Admission::Unlimited if due > now => Demand::At(due),
            Admission::Unlimited if !self.is_low() => Demand::None,
            Admission::Unlimited => match self.claimable() {
                0 => Demand::None,
                room => Demand::Now(room),
            },
            Admission::Probe if due > now => Demand::At(due),
            Admission::Probe => Demand::Now(1),
            Admission::NotBefore(at) => Demand::At(at.max(due)),
            Admission::ProbeInFlight => Demand::None,
        }
    }

    /// How many deliveries may be claimed for it.
    fn claimable(&self) -> u32 {
        match self.backlog {
            Some(backlog) => self.room().min(backlog.room(self.len())),
            None => self.room(),
        }
    }

    /// Notes when its next delivery in the store is due: once that is after the pause, what was held is in
    /// memory, or sent.
    pub(super) fn note_next_due(&mut self, due_at: Option<ServiceTime>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.is_exhausted = due_at.is_none_or(|at| at > backlog.until);
        }
    }

    /// Whether all that its pause held has been sent.
    pub(super) fn has_drained(&self) -> bool {
        self.entries.is_empty()
            && self.batches.is_empty()
            && self.backlog.is_some_and(|it| it.is_exhausted)
    }

    /// Whether to claim the next batch while the one just dequeued is in flight.
    pub(super) fn wants_next_batch(&self, now: ServiceTime) -> bool {
        self.batching.is_some() && self.is_low() && self.has_due(now)
    }

    /// Removes deliveries whose lease expires before `until`; returns the leases to release.
    pub(super) fn drain_expiring(&mut self, until: ServiceTime) -> Vec<LeaseRef> {
        let expires = |it: &LeasedDelivery| it.lease_expires_at < until;
        let mut drained = Vec::new();
        if self.entries.iter().any(|it| expires(&it.delivery)) {
            let mut budget_bytes = 0;
            self.entries.retain(|entry| {
                let goes = expires(&entry.delivery);
                if goes {
                    drained.push(lease_of(&entry.delivery));
                    self.document_bytes = self.document_bytes.saturating_sub(entry.document_bytes);
                    budget_bytes += entry.budget_bytes;
                    self.claimed -= usize::from(entry.is_claimed);
                }
                !goes
            });
            drop(self.budget.dequeue(drained.len(), budget_bytes));
        }
        for (mut batch, reservation) in std::mem::take(&mut self.batches) {
            drained.append(&mut batch.retain(|it| !expires(it)));
            if batch.len() > 0 {
                self.batches.push_back((batch, reservation));
            }
        }
        self.batched = self.batches.iter().map(|(batch, _)| batch.len()).sum();
        self.note_drained(&drained);
        drained
    }

    /// Removes everything; returns the leases to release.
    pub(super) fn drain(&mut self) -> Vec<LeaseRef> {
        let budget_bytes = self.entries.iter().map(|it| it.budget_bytes).sum();
        drop(self.budget.dequeue(self.entries.len(), budget_bytes));
        (self.document_bytes, self.claimed, self.batched) = (0, 0, 0);
        let queued = self.entries.drain(..).map(|it| it.delivery);
        let batched = self.batches.drain(..).flat_map(|(batch, _)| batch.into_deliveries());
        let drained: Vec<_> = queued.chain(batched).map(|it| lease_of(&it)).collect();
        self.note_drained(&drained);
        drained
    }

    /// While its circuit is open, what it held was the probe.
    const fn note_drained(&mut self, drained: &[LeaseRef]) {
        if !drained.is_empty() {
            self.breaker.set_probe_in_flight(false);
        }
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
