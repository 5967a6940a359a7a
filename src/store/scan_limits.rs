//! How many rows one query of a list scans, and how long a preview counts.

use std::time::Duration;

/// How long the preview of a job counts.
pub(super) const PREVIEW_BUDGET: Duration = Duration::from_secs(2);

/// How many rows one query scans at most: fewer where each row needs its event, whose body fills pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Deliveries.
    pub deliveries: u32,
    /// Events, and deliveries with their events.
    pub events: u32,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { deliveries: 50_000, events: 10_000 }
    }
}
