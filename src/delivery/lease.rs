//! The reference to a delivery's lease.

use crate::store::{LeaseRef, LeasedDelivery};

/// A delivery's lease: its id and fencing token.
pub(super) const fn lease_of(delivery: &LeasedDelivery) -> LeaseRef {
    LeaseRef { delivery_id: delivery.id, token: delivery.token }
}
