//! The lease of a delivery in memory: its reference, and its times when the clock steps.

use crate::store::{LeaseRef, LeasedDelivery};

/// A delivery's lease: its id and fencing token.
pub(super) const fn lease_of(delivery: &LeasedDelivery) -> LeaseRef {
    LeaseRef { delivery_id: delivery.id, token: delivery.token }
}

/// Moves a delivery's deadline and lease expiry by a clock step.
pub(super) const fn shift_times(delivery: &mut LeasedDelivery, micros: i64) {
    delivery.deadline_at = delivery.deadline_at.shifted(micros);
    delivery.lease_expires_at = delivery.lease_expires_at.shifted(micros);
}
