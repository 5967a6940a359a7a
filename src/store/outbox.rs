//! The outbox: an accepted event, its deliveries and its de-duplication key, written by one commit.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, DestinationId, EventId, MappingId, NodeId};
use crate::domain::service_time::ServiceTime;
use crate::domain::source_limiter::SourceUsage;

/// The lease that a new delivery is committed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The owner.
    pub node_id: NodeId,
    /// When it expires.
    pub expires_at: ServiceTime,
}

/// A delivery to be inserted with its event. A leased one starts with fencing token 1 and belongs
/// to the caller; the others are pending and due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The mapping's destination.
    pub destination_id: DestinationId,
    /// When its retry window ends.
    pub deadline_at: ServiceTime,
    /// The lease; none: pending.
    pub lease: Option<Lease>,
}

/// A destination that the event's `integrations` object excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The destination.
    pub destination_id: DestinationId,
}

/// An event to be accepted, with all rows of the same commit.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event; a rejected one has no deliveries.
    pub event: Arc<Event>,
    /// Its deliveries.
    pub deliveries: Vec<NewDelivery>,
    /// The destinations that it skips.
    pub skips: Vec<Skip>,
}

/// The result of accepting a [`NewEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Committed.
    Stored {
        /// The event's key.
        event_id: EventId,
        /// The deliveries' keys.
        delivery_ids: DeliveryIds,
    },
    /// The source sent the same messageId within 24 hours: only the duplicate was counted.
    Duplicate,
}

/// The keys of an event's deliveries, one for each [`NewDelivery`] and in that order. How keys are
/// allocated is the engine's concern: callers iterate and derive nothing from a key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryIds(Keys);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
    /// Allocated as a block: nothing is allocated on the heap.
    Block(Range<i64>),
    /// Allocated one by one.
    Each(Box<[DeliveryId]>),
}

impl DeliveryIds {
    /// `count` keys from `first` on.
    #[must_use]
    pub fn block(first: DeliveryId, count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Self(Keys::Block(first.0..first.0.saturating_add(count)))
    }

    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        let (block, each) = match &self.0 {
            Keys::Block(keys) => (keys.clone(), &[][..]),
            Keys::Each(keys) => (0..0, &keys[..]),
        };
        block.map(DeliveryId).chain(each.iter().copied())
    }
}

impl FromIterator<DeliveryId> for DeliveryIds {
    fn from_iter<I: IntoIterator<Item = DeliveryId>>(keys: I) -> Self {
        Self(Keys::Each(keys.into_iter().collect()))
    }
}

/// Whether there is disk space for events.
pub trait Capacity: Send + Sync + 'static {
    /// False while this node last saw less free disk space than the floor: intake refuses events,
    /// deliveries go on. Answered from memory, never by a query. An engine whose server has a disk of
    /// its own answers what the server's errors last said.
    fn has_room(&self) -> bool;

    /// Whether the database was there at the last statement. SQLite's file always is.
    fn is_reached(&self) -> bool {
        true
    }

    /// Why nothing can be written any more, once that is so: the process is about to end.
    fn failure(&self) -> Option<String>;
}

/// Accepting events.
#[async_trait]
pub trait Outbox: Capacity {
    /// Inserts events, their deliveries and de-duplication keys in one durable commit (group commit:
    /// concurrent calls may share one). Results are in the order of `events`.
    ///
    /// De-duplication covers at least 24 hours, holds between concurrent calls of any node, and
    /// outlasts restarts. On an error nothing was committed: an engine whose connection is lost during
    /// COMMIT finds out whether it happened. A dropped future may still commit.
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError>;

    /// The same for a source with a daily quota: the commit also counts the events that it stores, by the day of
    /// their `received_at`.
    async fn accept_counted(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError>;

    /// The events counted from this day on.
    async fn source_usage(&self, since_day: i64) -> Result<Vec<SourceUsage>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_ids_iterate_in_order_however_they_are_allocated() {
        let block = DeliveryIds::block(DeliveryId(7), 3);
        let each: DeliveryIds = [DeliveryId(9), DeliveryId(4)].into_iter().collect();
        assert_eq!(block.iter().map(|id| id.0).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(each.iter().map(|id| id.0).collect::<Vec<_>>(), [9, 4]);
        assert_eq!(DeliveryIds::block(DeliveryId(7), 0).iter().count(), 0);
    }
}
