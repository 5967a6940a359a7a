//! Inboxes, from which a node takes messages that applications wrote in transactions of their own: the backlog of
//! each, as the node last saw it.

use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Timestamp;

/// How many waiting messages are counted.
pub const MOST_COUNTED: u64 = 10_000;

/// The backlog of an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages, counted up to [`MOST_COUNTED`].
    pub waiting: u64,
    /// When the oldest was written, by the clock of its database.
    pub oldest_at: Option<Timestamp>,
}

impl Backlog {
    /// Whether there are more than were counted.
    #[must_use]
    pub const fn is_more(&self) -> bool {
        self.waiting >= MOST_COUNTED
    }
}

/// An inbox, as a node last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxState {
    /// Its name: `postrider.inbox`, a file's path, or a database's address without user and password.
    pub name: String,
    /// Its backlog.
    pub backlog: Backlog,
    /// Why nothing can be taken from it; none while it works.
    pub fault: Option<String>,
    /// Sources that messages wait for and that are disabled or do not exist.
    pub waits_for: Vec<String>,
}

/// The inboxes of a node; clones share them. There are as many as the settings name.
#[derive(Clone, Debug, Default)]
pub struct InboxBoard(Arc<Mutex<Vec<InboxState>>>);

impl InboxBoard {
    /// Every inbox, in the order in which they were first seen.
    #[must_use]
    pub fn states(&self) -> Vec<InboxState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces an inbox's state.
    pub fn set(&self, state: InboxState) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match states.iter_mut().find(|it| it.name == state.name) {
            Some(known) => *known = state,
            None => states.push(state),
        }
    }
}
