//! How much is in memory to be delivered: what waits in the lanes of all gates, and what is in requests
//! under way. It tells lanes how much they may take, so that there is one bound however many they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::LeasedDelivery;

/// Deliveries waiting in all lanes, and bytes, above which none gets more than its due.
const SPARE: usize = 16_384;
const SPARE_BYTES: usize = 24 << 20;
/// Bytes above which each gets its least, so that it gets on however much the others have.
const MOST_BYTES: usize = 48 << 20;
/// About what a delivery takes beside its event's bytes.
const DELIVERY_BYTES: usize = 512;

/// What is in memory; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    waiting: AtomicUsize,
    bytes: AtomicUsize,
}

/// How much there is left to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// As much as is of use.
    Spare,
    /// Its due for each lane.
    Due,
    /// The least for each.
    Least,
}

impl Held {
    /// One more waits; so many bytes are taken by it.
    pub(super) fn wait(&self, bytes: usize) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many wait no longer; their bytes are given back with the share.
    pub(super) fn take(&self, deliveries: usize, bytes: usize) -> Share {
        self.0.waiting.fetch_sub(deliveries, Ordering::Relaxed);
        Share { held: self.clone(), bytes }
    }

    /// More bytes.
    pub(super) fn share(&self, bytes: usize) -> Share {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { held: self.clone(), bytes }
    }

    pub(super) fn left(&self) -> Left {
        let bytes = self.0.bytes.load(Ordering::Relaxed);
        if bytes >= MOST_BYTES {
            Left::Least
        } else if bytes >= SPARE_BYTES || self.0.waiting.load(Ordering::Relaxed) >= SPARE {
            Left::Due
        } else {
            Left::Spare
        }
    }
}

/// What a request under way takes of it, or a pack that waits for one; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Held,
    bytes: usize,
}

impl Share {
    /// It takes more.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.held.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// About how many bytes a delivery takes in memory: its event as it came, and as mappings see it.
pub(super) fn bytes_of(delivery: &LeasedDelivery) -> usize {
    DELIVERY_BYTES + delivery.event.body.len() + document_bytes(delivery)
}

/// How many bytes its document has; about, where it is yet to be made.
pub(super) fn document_bytes(delivery: &LeasedDelivery) -> usize {
    let event = &delivery.event;
    event.document.get().map_or(event.body.len(), bytes::Bytes::len)
}

#[cfg(test)]
impl Held {
    /// As when so many deliveries wait that none has more than its due.
    pub(super) fn without_spare() -> Self {
        let held = Self::default();
        held.0.waiting.store(SPARE, Ordering::Relaxed);
        held
    }

    /// As when so many bytes are taken that each has only its least.
    pub(super) fn all() -> Self {
        let held = Self::default();
        held.0.bytes.store(MOST_BYTES, Ordering::Relaxed);
        held
    }

    /// The bytes that are taken.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}
