//! The count of open connections to receivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A connection that counts as open until this is dropped.
pub(super) struct OpenCount(Arc<AtomicUsize>);

impl OpenCount {
    /// One that is counted in `open` already.
    pub(super) const fn of(open: Arc<AtomicUsize>) -> Self {
        Self(open)
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
