//! Mappings whose deliveries come near the end of their window, for the alert about it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;
use crate::routing::Routes;
use crate::store::LeasedDelivery;

/// A window is expiring when less than this fraction of it is left: half an hour of four.
const EXPIRING_FRACTION: u32 = 8;

/// Mappings with expiring windows, each with the earliest deadline.
#[derive(Debug, Default)]
pub(super) struct ExpiringWindows(Mutex<HashMap<MappingId, ServiceTime>>);

impl ExpiringWindows {
    /// Notes those of the claimed deliveries whose window is expiring.
    pub(super) fn note(&self, claimed: &[LeasedDelivery], routes: &Routes, now: ServiceTime) {
        for delivery in claimed {
            let Some(route) = routes.mapping(delivery.mapping_id) else { continue };
            if delivery.deadline_at.since(now) < route.settings.window() / EXPIRING_FRACTION {
                let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let earliest = windows.entry(delivery.mapping_id).or_insert(delivery.deadline_at);
                *earliest = (*earliest).min(delivery.deadline_at);
            }
        }
    }

    /// Takes all that were noted.
    pub(super) fn take(&self) -> Vec<(MappingId, ServiceTime)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}
