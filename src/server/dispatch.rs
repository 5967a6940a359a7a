//! Intake's door to the courier.

use crate::delivery::Courier;
use crate::domain::id::{MappingId, NodeId};
use crate::intake::Dispatch;
use crate::store::LeasedDelivery;

impl Dispatch for Courier {
    fn node_id(&self) -> NodeId {
        Self::node_id(self)
    }

    fn reserve(&self, mapping_id: MappingId, wanted: u32) -> u32 {
        Self::reserve(self, mapping_id, wanted)
    }

    fn release(&self, mapping_id: MappingId, unused: u32) {
        Self::give_back(self, mapping_id, unused);
    }

    fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        Self::hand_over(self, deliveries);
    }

    fn notify_due(&self, mapping_ids: &[MappingId]) {
        Self::hint_due(self, mapping_ids);
    }
}
