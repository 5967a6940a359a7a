//! The lock on the stored schedule: due times, deadlines and lease expiries. A clock step holds it for
//! writing until the store has shifted the schedule; nothing is claimed or expired meanwhile.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The clock steps that the store has not applied yet, in microseconds.
    pending_shift: RwLock<i64>,
}

impl Schedule {
    /// A read lock on the schedule; none while a shift is pending: its times are wrong until then.
    pub(super) async fn read(&self) -> Option<RwLockReadGuard<'_, i64>> {
        Some(self.pending_shift.read().await).filter(|shift| **shift == 0)
    }

    /// The write lock, with the pending shift.
    pub(super) async fn pending_shift(&self) -> RwLockWriteGuard<'_, i64> {
        self.pending_shift.write().await
    }
}
