//! Slots reserved at the dispatcher for a request's first attempts, from before its commit until they are
//! used or released.

use std::sync::Arc;

use super::dispatch::Dispatch;
use crate::domain::id::{MappingId, NodeId};
use crate::store::LeasedDelivery;

/// Reserved slots. The unused ones are released on drop.
pub(super) struct ReservedSlots {
    dispatch: Arc<dyn Dispatch>,
    /// Unused slots per mapping, in the order of the demands.
    unused: Vec<(MappingId, u32)>,
}

impl ReservedSlots {
    /// Reserves a slot for each delivery, as far as slots are free.
    pub(super) fn reserve(
        dispatch: Arc<dyn Dispatch>,
        demands: impl Iterator<Item = (MappingId, u32)>,
    ) -> Self {
        let reserve = |(mapping_id, count): (MappingId, u32)| {
            (mapping_id, dispatch.reserve(mapping_id, count).min(count))
        };
        let unused = demands.map(reserve).collect();
        Self { dispatch, unused }
    }

    pub(super) fn node_id(&self) -> NodeId {
        self.dispatch.node_id()
    }

    /// Granted slots per mapping, in the order of the demands.
    pub(super) fn counts(&self) -> Vec<u32> {
        self.unused.iter().map(|(_, count)| *count).collect()
    }

    /// Dispatches committed deliveries, each in its slot.
    pub(super) fn dispatch(&mut self, leased: Vec<LeasedDelivery>) {
        for delivery in &leased {
            let slots = self.unused.iter_mut().find(|(id, _)| *id == delivery.mapping_id);
            if let Some((_, unused)) = slots {
                *unused = unused.saturating_sub(1);
            }
        }
        if !leased.is_empty() {
            self.dispatch.dispatch(leased);
        }
    }

    /// Reports mappings with pending deliveries.
    pub(super) fn notify_due(&self, mapping_ids: &[MappingId]) {
        self.dispatch.notify_due(mapping_ids);
    }
}

impl Drop for ReservedSlots {
    fn drop(&mut self) {
        for (mapping_id, unused) in &self.unused {
            if *unused > 0 {
                self.dispatch.release(*mapping_id, *unused);
            }
        }
    }
}
