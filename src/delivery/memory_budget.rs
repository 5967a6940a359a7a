//! The memory budget for deliveries in memory: prefetched ones in the queues of all limiters and those
//! of requests in flight. Queues size themselves by the headroom that is left, so that one bound holds
//! for any number of mappings.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::LeasedDelivery;

/// Queued deliveries, and bytes, above which a queue gets only its fair share.
const AMPLE_DELIVERIES: usize = 16_384;
const AMPLE_BYTES: usize = 24 << 20;
/// Bytes above which a queue gets only its minimum, so that each mapping makes progress.
const MAX_BYTES: usize = 48 << 20;
/// Deliveries that one claim leases at most, whatever is left of the budget; and at least.
const MAX_CLAIM: usize = 4_096;
const LEAST_CLAIM: usize = 256;
/// What a delivery is taken to be before the first claim.
const UNKNOWN_BYTES: usize = 48 << 10;
/// Approximate overhead of a delivery beside its event's bytes.
const DELIVERY_BYTES: usize = 512;

/// The budget; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryBudget(Arc<Usage>);

#[derive(Debug, Default)]
struct Usage {
    queued: AtomicUsize,
    bytes: AtomicUsize,
    /// Slots reserved for deliveries about to be committed.
    slots: AtomicUsize,
    /// Queues that share the budget.
    queues: AtomicUsize,
    /// The mean size of the deliveries of the last claim; 0 before the first.
    claimed_bytes: AtomicUsize,
}

/// The budget as one queue has it, which counts among those that share it.
#[derive(Debug)]
pub(super) struct QueueBudget(MemoryBudget);

impl QueueBudget {
    /// The queue's part of the deliveries that all queues together prefetch, divided by `divisor`.
    pub(super) fn share(&self, divisor: usize) -> u32 {
        let queues = self.0.0.queues.load(Ordering::Relaxed).max(1);
        u32::try_from(AMPLE_DELIVERIES * 2 / divisor / queues).unwrap_or(u32::MAX)
    }
}

impl Deref for QueueBudget {
    type Target = MemoryBudget;

    fn deref(&self) -> &MemoryBudget {
        &self.0
    }
}

impl Drop for QueueBudget {
    fn drop(&mut self) {
        self.0.0.queues.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much of the budget is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headroom {
    /// Queues may prefetch as much as is useful.
    Ample,
    /// Each queue may hold its fair share.
    FairShare,
    /// Each queue may hold its minimum.
    Minimum,
}

impl MemoryBudget {
    /// The budget for one queue more.
    pub(super) fn queue(self) -> QueueBudget {
        self.0.queues.fetch_add(1, Ordering::Relaxed);
        QueueBudget(self)
    }

    /// How many deliveries one claim may lease for all queues together.
    pub(super) fn claimable(&self) -> u32 {
        let mean = match self.0.claimed_bytes.load(Ordering::Relaxed) {
            0 => UNKNOWN_BYTES,
            mean => mean,
        };
        let left = MAX_BYTES.saturating_sub(self.0.bytes.load(Ordering::Relaxed)) / mean;
        u32::try_from(left.clamp(LEAST_CLAIM, MAX_CLAIM)).unwrap_or(u32::MAX)
    }

    /// Notes how large the deliveries of a claim are.
    pub(super) fn note_claimed(&self, deliveries: &[LeasedDelivery]) {
        let sum: usize = deliveries.iter().map(delivery_bytes).sum();
        if let Some(mean) = sum.checked_div(deliveries.len()) {
            self.0.claimed_bytes.store(mean, Ordering::Relaxed);
        }
    }

    /// Charges a delivery that was queued.
    pub(super) fn enqueue(&self, bytes: usize) {
        self.0.queued.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes deliveries out of the queued count; their bytes are released with the reservation.
    pub(super) fn dequeue(&self, deliveries: usize, bytes: usize) -> Reservation {
        self.0.queued.fetch_sub(deliveries, Ordering::Relaxed);
        Reservation { budget: self.clone(), bytes }
    }

    /// Reserves bytes.
    pub(super) fn reserve(&self, bytes: usize) -> Reservation {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Reservation { budget: self.clone(), bytes }
    }

    /// Charges slots for deliveries that are about to be committed.
    pub(super) fn reserve_slots(&self, slots: usize) {
        self.0.slots.fetch_add(slots, Ordering::Relaxed);
    }

    /// Releases them: the deliveries are charged now, or there are none.
    pub(super) fn release_slots(&self, slots: usize) {
        self.0.slots.fetch_sub(slots, Ordering::Relaxed);
    }

    pub(super) fn headroom(&self) -> Headroom {
        let slots = self.0.slots.load(Ordering::Relaxed);
        let bytes = self.0.bytes.load(Ordering::Relaxed) + slots * DELIVERY_BYTES;
        if bytes >= MAX_BYTES {
            Headroom::Minimum
        } else if bytes >= AMPLE_BYTES
            || self.0.queued.load(Ordering::Relaxed) + slots >= AMPLE_DELIVERIES
        {
            Headroom::FairShare
        } else {
            Headroom::Ample
        }
    }
}

/// The bytes reserved for a request in flight or for a batch that waits for one; released on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Reserves more bytes.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.budget.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The approximate memory footprint of a delivery: its event's raw bytes and its document.
pub(super) fn delivery_bytes(delivery: &LeasedDelivery) -> usize {
    DELIVERY_BYTES + delivery.event.body.len() + document_bytes(delivery)
}

/// The length of the event's document; estimated by the raw body until the document is composed.
pub(super) fn document_bytes(delivery: &LeasedDelivery) -> usize {
    let event = &delivery.event;
    event.document.get().map_or(event.body.len(), bytes::Bytes::len)
}

#[cfg(test)]
impl MemoryBudget {
    /// A budget with so many deliveries queued that each queue gets its fair share.
    pub(super) fn with_fair_share() -> Self {
        let budget = Self::default();
        budget.0.queued.store(AMPLE_DELIVERIES, Ordering::Relaxed);
        budget
    }

    /// A budget with so many bytes in use that each queue gets its minimum.
    pub(super) fn exhausted() -> Self {
        let budget = Self::default();
        budget.0.bytes.store(MAX_BYTES, Ordering::Relaxed);
        budget
    }

    /// The bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}
