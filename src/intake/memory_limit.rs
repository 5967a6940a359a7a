//! The memory limit of intake: bytes that all requests being read or accepted hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::response::IntakeError;

/// A shared limit and its current use.
#[derive(Clone, Debug)]
pub(super) struct MemoryLimit {
    used_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

impl MemoryLimit {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { used_bytes: Arc::default(), limit_bytes }
    }

    /// An empty reservation for one request.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation { limit: self.clone(), bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// The bytes that one request holds; released on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    limit: MemoryLimit,
    bytes: usize,
}

impl Reservation {
    /// Reserves more bytes. On failure the whole reservation is released.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), IntakeError> {
        let before = self.limit.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.limit.limit_bytes {
            self.release();
            return Err(IntakeError::Overloaded);
        }
        Ok(())
    }

    /// Releases all bytes.
    pub(super) fn release(&mut self) {
        self.limit.used_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
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

    #[test]
    fn a_reservation_is_released_on_drop() {
        let limit = MemoryLimit::new(10);
        let mut one = limit.reservation();
        one.grow(10).expect("all of it");
        let mut other = limit.reservation();
        assert!(matches!(other.grow(1), Err(IntakeError::Overloaded)));
        drop(one);
        other.grow(10).expect("all of it again");
        drop(other);
        assert_eq!(limit.used_bytes(), 0);
    }
}
