//! The slots of the pool: the right to use one worker. One mapping has at most half of them, and so have all
//! suspects together (mappings whose last call was killed): hanging functions cannot starve the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::domain::id::MappingId;

/// Mappings whose share is kept while they run nothing.
const MAX_SHARES: usize = 4_096;

/// The slots of all workers.
#[derive(Debug)]
pub(super) struct Slots {
    workers: usize,
    all: Arc<Semaphore>,
    of_suspects: Arc<Semaphore>,
    shares: Mutex<HashMap<Option<MappingId>, Arc<Share>>>,
    /// Notified when a slot is free again.
    pub(super) freed: Arc<Notify>,
}

/// One mapping's share of the slots; `None` is for checks, which belong to no mapping.
#[derive(Debug)]
struct Share {
    slots: Arc<Semaphore>,
    /// Its last call was killed.
    is_suspect: AtomicBool,
}

/// The right to use one worker for one mapping. Dropped, it is another's.
#[derive(Debug)]
pub struct FunctionSlot {
    pub(super) mapping: Option<MappingId>,
    share: Arc<Share>,
    _permits: [Option<OwnedSemaphorePermit>; 3],
    // Dropped last: who is notified finds the slot free.
    _notifies: NotifyOnDrop,
}

impl FunctionSlot {
    /// Notes whether the mapping's last call was killed.
    pub(super) fn set_suspect(&self, is_suspect: bool) {
        self.share.is_suspect.store(is_suspect, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Slots {
    pub(super) fn new(workers: u32) -> Self {
        let workers = workers.max(1) as usize;
        Self {
            workers,
            all: Arc::new(Semaphore::new(workers)),
            of_suspects: Arc::new(Semaphore::new((workers / 2).max(1))),
            shares: Mutex::default(),
            freed: Arc::default(),
        }
    }

    /// The slots in use.
    pub(super) fn busy(&self) -> usize {
        self.workers.saturating_sub(self.all.available_permits())
    }

    pub(super) fn has_free(&self) -> bool {
        self.all.available_permits() > 0
    }

    /// A slot, if one is free for this mapping now.
    pub(super) fn try_take(&self, mapping: Option<MappingId>) -> Option<FunctionSlot> {
        let share = self.share(mapping);
        let take = |of: &Arc<Semaphore>| -> Result<OwnedSemaphorePermit, TryAcquireError> {
            Arc::clone(of).try_acquire_owned()
        };
        let of_share = take(&share.slots).ok()?;
        let of_suspects = if share.is_suspect.load(Ordering::SeqCst) {
            Some(take(&self.of_suspects).ok()?)
        } else {
            None
        };
        let of_all = take(&self.all).ok()?;
        Some(self.slot(mapping, share, [Some(of_share), of_suspects, Some(of_all)]))
    }

    /// A slot, as soon as one is free for this mapping. The semaphores are never closed.
    pub(super) async fn take(&self, mapping: Option<MappingId>) -> FunctionSlot {
        let share = self.share(mapping);
        let of_share = Arc::clone(&share.slots).acquire_owned().await.ok();
        let of_suspects = if share.is_suspect.load(Ordering::SeqCst) {
            Arc::clone(&self.of_suspects).acquire_owned().await.ok()
        } else {
            None
        };
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        self.slot(mapping, share, [of_share, of_suspects, of_all])
    }

    fn slot(
        &self,
        mapping: Option<MappingId>,
        share: Arc<Share>,
        permits: [Option<OwnedSemaphorePermit>; 3],
    ) -> FunctionSlot {
        let notifies = NotifyOnDrop(Arc::clone(&self.freed));
        FunctionSlot { mapping, share, _permits: permits, _notifies: notifies }
    }

    fn share(&self, mapping: Option<MappingId>) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() > MAX_SHARES {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let slots = (self.workers / 2).max(1);
        let share = shares.entry(mapping).or_insert_with(|| {
            let slots = Arc::new(Semaphore::new(slots));
            Arc::new(Share { slots, is_suspect: AtomicBool::new(false) })
        });
        Arc::clone(share)
    }
}
