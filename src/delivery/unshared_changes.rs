//! What this node has changed of the shared state and not stored yet, and what the exchange with the store tells
//! the other parts of the room.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::id::MappingId;

/// Changes that are not stored yet, at most one a mapping.
#[derive(Debug, Default)]
pub(super) struct UnsharedChanges {
    circuits: Mutex<HashSet<MappingId>>,
    /// Writes of waits that are under way, and how many have ended.
    wait_writes: AtomicU32,
    wait_writes_ended: AtomicU64,
    /// Mappings of destinations that this node owns beside other nodes.
    owned: Mutex<Vec<MappingId>>,
    /// Wakes the exchange.
    pub(super) wanted: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnsharedChanges {
    /// The circuit of a mapping has changed here.
    pub(super) fn note_circuit(&self, mapping_id: MappingId) {
        lock(&self.circuits).insert(mapping_id);
        self.wanted.notify_one();
    }

    /// The mappings whose circuits have changed since the last call.
    pub(super) fn take_circuits(&self) -> HashSet<MappingId> {
        std::mem::take(&mut *lock(&self.circuits))
    }

    /// They are not stored after all.
    pub(super) fn put_back(&self, mappings: HashSet<MappingId>) {
        lock(&self.circuits).extend(mappings);
    }

    /// The mappings whose circuits have changed and are not taken.
    pub(super) fn circuits(&self) -> HashSet<MappingId> {
        lock(&self.circuits).clone()
    }

    /// A write of waits begins.
    pub(super) fn wait_write_begins(&self) {
        self.wait_writes.fetch_add(1, Ordering::AcqRel);
    }

    /// A write of waits has ended.
    pub(super) fn wait_write_ends(&self) {
        self.wait_writes_ended.fetch_add(1, Ordering::AcqRel);
        self.wait_writes.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many writes of waits have ended; none while one is under way. Unchanged over a read, the read has
    /// what this node knows.
    pub(super) fn waits_stored(&self) -> Option<u64> {
        let ended = self.wait_writes_ended.load(Ordering::Acquire);
        (self.wait_writes.load(Ordering::Acquire) == 0).then_some(ended)
    }

    pub(super) fn set_owned(&self, mappings: Vec<MappingId>) {
        *lock(&self.owned) = mappings;
    }

    pub(super) fn owned(&self) -> Vec<MappingId> {
        lock(&self.owned).clone()
    }
}
