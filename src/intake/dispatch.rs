//! The interface from intake to the dispatcher of deliveries: slots for first attempts are reserved before
//! a commit and used after it. Intake does not know how attempts are made.

use crate::domain::id::{MappingId, NodeId};
use crate::store::LeasedDelivery;

/// Reserves slots for first attempts and takes the committed deliveries.
///
/// For each request that has deliveries, intake calls in this order:
/// 1. [`reserve`](Self::reserve) once per mapping, before the commit. Deliveries with a slot are committed
///    as leased to [`node_id`](Self::node_id), the others as pending and due immediately.
/// 2. After the commit, [`dispatch`](Self::dispatch) with the leased ones: each uses one slot reserved for
///    its mapping.
/// 3. [`release`](Self::release) with the unused slots: the message was a duplicate, or the commit failed.
///    Used and released slots add up to those granted, whatever happens in between.
/// 4. [`notify_due`](Self::notify_due) with the mappings that got pending deliveries.
///
/// No method blocks: all are called before the sender gets its response.
pub trait Dispatch: Send + Sync + 'static {
    /// The node that deliveries are leased to.
    fn node_id(&self) -> NodeId;

    /// Reserves slots for up to `count` deliveries of this mapping; returns how many were granted.
    fn reserve(&self, mapping_id: MappingId, count: u32) -> u32;

    /// Releases reserved slots that were not used.
    fn release(&self, mapping_id: MappingId, unused: u32);

    /// Takes deliveries that are committed as leased to this node, each in a reserved slot.
    fn dispatch(&self, deliveries: Vec<LeasedDelivery>);

    /// Reports mappings with deliveries that were committed as pending and are due, one entry per
    /// delivery. A hint: losing it delays deliveries but does not lose them.
    fn notify_due(&self, mapping_ids: &[MappingId]);
}
