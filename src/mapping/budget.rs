//! The limits on what one request may take: the body, nesting, and the values computed for it. They keep
//! an event and a mapping, each within its own limits, from exhausting memory together.

use super::error::ErrorKind;

/// The longest body, in bytes: as much as a batch may have.
pub(super) const MAX_BODY: usize = 4_000_000;
/// All values computed for one request, in bytes.
const MAX_WORK: usize = 32 * 1024 * 1024;
/// Nesting of values: deeper ones could not be parsed again.
pub(super) const MAX_DEPTH: usize = crate::json::MAX_DEPTH;
/// The size of an item or a field in memory, about.
pub(super) const SLOT: usize = 96;

/// What is left of the limit for one request, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { left: MAX_WORK }
    }

    /// Takes bytes from it.
    pub(super) const fn take(&mut self, bytes: usize) -> Result<(), ErrorKind> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ErrorKind::TooMuch),
        }
    }
}
