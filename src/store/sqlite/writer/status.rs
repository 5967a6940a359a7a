//! The writer's status as other threads see it: the ledger as of the last commit, whether the disk has
//! room for events, and whether the store has failed for good.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::ledger::Ledger;

/// Shared by the writer and the store's callers.
#[derive(Debug)]
pub(crate) struct WriterStatus {
    ledger: Mutex<Ledger>,
    has_room: AtomicBool,
    failed: watch::Sender<Option<String>>,
    held: watch::Sender<Held>,
}

/// Which new readers wait, so that the WAL can be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    /// None.
    None,
    /// Those of lists and pages.
    Lists,
    /// Those of deliveries too.
    All,
}

/// How long a reader waits at most, whatever the writer does.
const HELD_AT_MOST: Duration = Duration::from_secs(1);

impl WriterStatus {
    /// Before the writer has opened the file.
    pub(crate) fn new() -> Self {
        Self {
            ledger: Mutex::new(Ledger::default()),
            has_room: AtomicBool::new(true),
            failed: watch::Sender::new(None),
            held: watch::Sender::new(Held::None),
        }
    }

    /// Publishes the ledger of a commit.
    pub(crate) fn publish(&self, ledger: Ledger) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// The ledger of the last commit.
    pub(crate) fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets whether intake may write.
    pub(crate) fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Release);
    }

    /// Whether intake may write.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Acquire)
    }

    /// Sets which new readers wait.
    pub(crate) fn hold(&self, held: Held) {
        self.held.send_if_modified(|now| std::mem::replace(now, held) != held);
    }

    /// Waits while readers of this kind are held.
    pub(crate) async fn admit(&self, kind: Held) {
        if *self.held.borrow() >= kind {
            let mut held = self.held.subscribe();
            // In the end it reads in any case.
            let _ = tokio::time::timeout(HELD_AT_MOST, held.wait_for(|held| *held < kind)).await;
        }
    }

    /// The content of the file is unknown: no more is written.
    pub(crate) fn fail(&self, error: &dyn fmt::Display) {
        tracing::error!(%error, "the database failed for good: the process must end and start again");
        self.failed.send_replace(Some(error.to_string()));
    }

    /// Why it has failed, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Whether it has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Waits until it has failed; returns the cause.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_ended) => String::new(),
        }
    }
}
