//! How many rows one query of a list scans.

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
