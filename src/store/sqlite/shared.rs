//! What the writer tells everyone: the ledger as of the last commit, whether there is room, and
//! whether the store has failed for good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::store::Ledger;

/// Shared by the writer and the store's front.
#[derive(Debug)]
pub(super) struct Shared {
    ledger: Mutex<Ledger>,
    has_room: AtomicBool,
    failed: watch::Sender<Option<String>>,
}

impl Shared {
    /// Nothing known yet.
    pub(super) fn new() -> Self {
        Self {
            ledger: Mutex::new(Ledger::default()),
            has_room: AtomicBool::new(true),
            failed: watch::Sender::new(None),
        }
    }

    /// Publishes the ledger of a commit.
    pub(super) fn publish(&self, ledger: Ledger) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// The ledger of the last commit.
    pub(super) fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether intake may write.
    pub(super) fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Release);
    }

    /// Whether intake may write.
    pub(super) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Acquire)
    }

    /// The store can no longer vouch for its file.
    pub(super) fn fail(&self, error: &sqlx::Error) {
        tracing::error!(%error, "the database failed for good: the process must end and start again");
        self.failed.send_replace(Some(error.to_string()));
    }

    /// Whether it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Waits until it has failed; says why.
    pub(super) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_ended) => String::new(),
        }
    }
}
