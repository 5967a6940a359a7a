//! Places at the dispatcher for a request's first attempts, from before its commit until they are used
//! or go back.

use std::sync::Arc;

use super::dispatch::Dispatch;
use super::plan::Lane;
use crate::domain::id::MappingId;
use crate::store::LeasedDelivery;

/// Places at the dispatcher. Those that were not used go back when it is dropped, whatever happened.
pub(super) struct Reserved {
    pub(super) dispatch: Arc<dyn Dispatch>,
    /// By the plan's lanes.
    pub(super) places: Vec<(MappingId, u32)>,
}

impl Reserved {
    /// Takes a place for each delivery, as far as there are places.
    pub(super) fn take(dispatch: Arc<dyn Dispatch>, lanes: &[Lane]) -> Self {
        let take = |lane: &Lane| {
            let granted = dispatch.reserve(lane.mapping_id, lane.wanted);
            (lane.mapping_id, granted.min(lane.wanted))
        };
        let places = lanes.iter().map(take).collect();
        Self { dispatch, places }
    }

    /// Hands over what was committed as leased, each into its place.
    pub(super) fn hand_over(&mut self, leased: Vec<LeasedDelivery>) {
        for delivery in &leased {
            let place = self.places.iter_mut().find(|(id, _)| *id == delivery.mapping_id);
            if let Some((_, unused)) = place {
                *unused = unused.saturating_sub(1);
            }
        }
        if !leased.is_empty() {
            self.dispatch.hand_over(leased);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (mapping_id, unused) in &self.places {
            if *unused > 0 {
                self.dispatch.give_back(*mapping_id, *unused);
            }
        }
    }
}
