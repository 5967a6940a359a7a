//! Implements intake's `Dispatch` for the delivery dispatcher.

use crate::delivery::Dispatcher;
use crate::domain::id::{MappingId, NodeId};
use crate::intake::Dispatch;
use crate::store::LeasedDelivery;

impl Dispatch for Dispatcher {
    fn node_id(&self) -> NodeId {
        Self::node_id(self)
    }

    fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        Self::reserve(self, mapping_id, count)
    }

    fn release(&self, mapping_id: MappingId, unused: u32) {
        Self::release(self, mapping_id, unused);
    }

    fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        Self::dispatch(self, deliveries);
    }

    fn notify_due(&self, mapping_ids: &[MappingId]) {
        Self::notify_due(self, mapping_ids);
    }
}
