//! Turns: concurrent changes of the pipeline are planned beside each other. One whose version was
//! overtaken plans again while no other of this process commits, so that it conflicts only with what
//! really changed.

use tokio::sync::{Mutex, MutexGuard};

/// Attempts of a change: further conflicts can only come from another node.
const ATTEMPTS: u32 = 16;

/// The turns of all changes.
#[derive(Debug, Default)]
pub struct Turns(Mutex<()>);

/// The turns of one change.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    attempts: u32,
    held: Option<MutexGuard<'t, ()>>,
}

impl Turns {
    /// The first attempt of a change.
    pub(super) const fn next(&self) -> Turn<'_> {
        Turn { turns: self, attempts: 1, held: None }
    }
}

impl<'t> Turn<'t> {
    /// After a conflict: waits until no other change commits, and keeps it so. False after too many
    /// attempts.
    pub(super) async fn wait(&mut self) -> bool {
        self.attempts += 1;
        if self.held.is_none() {
            self.held = Some(self.turns.0.lock().await);
        }
        self.attempts <= ATTEMPTS
    }

    /// For a commit; none where this change has it already.
    pub(super) async fn take(&self) -> Option<MutexGuard<'t, ()>> {
        match self.held {
            Some(_) => None,
            None => Some(self.turns.0.lock().await),
        }
    }
}
