//! The door from intake to whoever makes the attempts. Intake asks it for room before a commit and
//! tells it afterwards what was committed; it knows nothing of how attempts are made.

use crate::domain::id::{MappingId, NodeId};
use crate::store::LeasedDelivery;

/// Room for first attempts, and what was committed for them.
///
/// For each request that has deliveries, intake calls in this order:
/// 1. [`reserve`](Self::reserve) once a mapping, before the commit. So many deliveries are committed
///    as leased to [`node_id`](Self::node_id), the others as pending and due at once.
/// 2. After the commit, [`hand_over`](Self::hand_over) with the leased ones: each uses up one place
///    that was reserved for its mapping.
/// 3. [`give_back`](Self::give_back) with the places that were not used: the message was a
///    duplicate, or nothing was committed. Used and given back add up to what was granted, whatever
///    happens in between; a place is never kept by a request that failed.
/// 4. [`hint_due`](Self::hint_due) with the mappings that got pending deliveries.
///
/// None of them waits: they are called on the path of a sender's answer.
pub trait Dispatch: Send + Sync + 'static {
    /// The node that deliveries are leased to.
    fn node_id(&self) -> NodeId;

    /// Takes room for up to `wanted` deliveries of this mapping; returns how much was granted, from
    /// none to `wanted`.
    fn reserve(&self, mapping_id: MappingId, wanted: u32) -> u32;

    /// Gives back room that was granted and not used.
    fn give_back(&self, mapping_id: MappingId, unused: u32);

    /// Takes deliveries that are committed as leased to this node, each in a reserved place.
    fn hand_over(&self, deliveries: Vec<LeasedDelivery>);

    /// The mappings of deliveries that were committed as pending and are due now, one entry for each
    /// delivery. Only a hint: one that is lost costs time, not deliveries.
    fn hint_due(&self, mapping_ids: &[MappingId]);
}
