//! The memory limit of intake: bytes that all requests being read or accepted hold together, shared fairly by
//! source.

use std::sync::Arc;

use super::response::IntakeError;
use super::tenant::Tenant;
use crate::domain::fair_share::FairShare;

/// A shared limit and its current use.
#[derive(Clone, Debug)]
pub(super) struct MemoryLimit(Arc<FairShare<Tenant>>);

impl MemoryLimit {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(FairShare::new(limit_bytes)))
    }

    /// An empty reservation for one request.
    pub(super) fn reservation(&self, tenant: Tenant) -> Reservation {
        Reservation { limit: self.clone(), tenant, bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> usize {
        self.0.total()
    }
}

/// The bytes that one request holds; released on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    limit: MemoryLimit,
    tenant: Tenant,
    bytes: usize,
}

impl Reservation {
    /// Reserves more bytes. On failure the whole reservation is released.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), IntakeError> {
        if self.limit.0.take(self.tenant, bytes) {
            self.bytes += bytes;
            return Ok(());
        }
        self.release();
        Err(IntakeError::Overloaded)
    }

    /// Releases all bytes.
    pub(super) fn release(&mut self) {
        self.limit.0.release(self.tenant, std::mem::take(&mut self.bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SourceId;

    const ONE: Tenant = Tenant::Source(SourceId(1));
    const OTHER: Tenant = Tenant::Source(SourceId(2));

    #[test]
    fn a_reservation_is_released_on_drop() {
        let limit = MemoryLimit::new(10);
        let mut one = limit.reservation(ONE);
        one.grow(10).expect("all of it");
        let mut other = limit.reservation(OTHER);
        assert!(matches!(other.grow(1), Err(IntakeError::Overloaded)));
        drop(one);
        other.grow(10).expect("all of it again");
        drop(other);
        assert_eq!(limit.used_bytes(), 0);
    }

    #[test]
    fn a_loud_source_leaves_memory_for_a_calm_one() {
        let limit = MemoryLimit::new(1_000);
        let mut loud = Vec::new();
        let refused = loop {
            let mut reservation = limit.reservation(ONE);
            match reservation.grow(100) {
                Ok(()) => loud.push(reservation),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, IntakeError::Overloaded));
        assert_eq!(loud.len(), 7);
        limit.reservation(OTHER).grow(100).expect("the calm source's share is free");
    }
}
