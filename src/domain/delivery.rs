//! Deliveries: one event for one mapping each, and the state machine of a delivery.
//!
//! ```text
//! pending -> leased -> delivered | pending | dead      (dispatcher: claim, then a recorded outcome)
//! leased -> pending                                    (dispatcher: release of a prefetched delivery)
//! pending | leased -> delivered                        (dispatcher, policy `any`: a sibling was delivered)
//! leased -> discarded                                  (dispatcher: the insert function dropped it)
//! leased -> leased, under the next fencing token       (dispatcher: its batch was rejected and is split)
//! pending -> dead                                      (maintenance: its mapping was removed)
//! dead -> pending                                      (operator, redrive)
//! pending | dead -> discarded                          (operator, discard)
//! ```

use serde::{Deserialize, Serialize};

use super::attempt::Outcome;
use super::id::{DeliveryId, DestinationId, EventId, MappingId, NodeId};
use crate::domain::clock::Timestamp;
use crate::domain::service_time::ServiceTime;

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Due at its `due_at`.
    Pending,
    /// Leased to a node: prefetched, or in flight.
    Leased,
    /// Its receiver answered 2xx; under policy `any`, or that of a sibling did.
    Delivered,
    /// A dead letter; a redrive makes it pending again.
    Dead,
    /// Discarded by an operator, or dropped by its insert function.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Leased, Self::Delivered, Self::Dead, Self::Discarded];

    /// The name in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// The reason of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A 4xx answer that is not retried.
    Rejected,
    /// A 3xx answer.
    Redirect,
    /// The request could not be rendered.
    Render,
    /// SSRF protection refused the address.
    Address,
    /// The insert function threw, or returned no event.
    Function,
    /// The window is over.
    Deadline,
    /// Its mapping was removed while it waited.
    Removed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Rejected,
        Self::Redirect,
        Self::Render,
        Self::Address,
        Self::Function,
        Self::Deadline,
        Self::Removed,
    ];

    /// The name in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Redirect => "redirect",
            Self::Render => "render",
            Self::Address => "address",
            Self::Function => "function",
            Self::Deadline => "deadline",
            Self::Removed => "removed",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The key.
    pub id: DeliveryId,
    /// Its event.
    pub event_id: EventId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// Its mapping's destination.
    pub destination_id: DestinationId,
    /// Its state.
    pub state: State,
    /// When its event was accepted.
    pub accepted_at: Timestamp,
    /// When the next attempt is due; only while pending.
    pub due_at: Option<ServiceTime>,
    /// When its window ends.
    pub deadline_at: ServiceTime,
    /// The fencing token of its last lease: the number of its last attempt.
    pub token: u32,
    /// Attempts in the current window, without those in batches that were rejected as a whole.
    pub tried: u32,
    /// The node that holds the lease; only while leased.
    pub lease_node_id: Option<NodeId>,
    /// When the lease expires; only while leased.
    pub lease_expires_at: Option<ServiceTime>,
    /// When it was delivered, discarded or became a dead letter.
    pub settled_at: Option<Timestamp>,
    /// Why it is a dead letter; only while dead.
    pub reason: Option<Reason>,
    /// The outcome of its last attempt.
    pub last_outcome: Option<Outcome>,
    /// The HTTP status of its last attempt.
    pub last_status: Option<u16>,
    /// Under policy `any`, the sibling delivery whose success settled this one; none for one that its own
    /// receiver accepted.
    pub settled_by: Option<DeliveryId>,
}
