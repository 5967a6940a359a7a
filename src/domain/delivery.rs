//! Deliveries: one event for one mapping. The state lives here.
//!
//! ```text
//! pending -> leased -> delivered | pending | dead      (dispatcher, by a recorded outcome)
//! pending | leased -> delivered                        (dispatcher, policy `any`: by another's success)
//! leased -> discarded                                  (dispatcher, its insert function dropped it)
//! leased -> leased, under the next token               (dispatcher, its batch was refused as a whole)
//! dead -> pending                                      (operator, redrive)
//! pending | dead -> discarded                          (operator, discard)
//! ```

use serde::{Deserialize, Serialize};

use super::attempt::Outcome;
use super::id::{DeliveryId, DestinationId, EventId, MappingId, NodeId};
use crate::domain::clock::Timestamp;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits until its `due_at`.
    Pending,
    /// A node holds it and is trying it.
    Leased,
    /// Its receiver answered 2xx; or, where one success is enough, that of another mapping did.
    Delivered,
    /// It ended without success; a redrive makes it pending again.
    Dead,
    /// An operator gave it up, or its insert function did.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Leased, Self::Delivered, Self::Dead, Self::Discarded];

    /// The word in tables, URLs, logs and metrics.
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

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a dead letter is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A 4xx that is not retried.
    Rejected,
    /// A 3xx.
    Redirect,
    /// The request could not be made from the event.
    Render,
    /// The address is refused by policy.
    Address,
    /// The insert function threw, or gave no event.
    Function,
    /// The window ran out.
    Deadline,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Rejected,
        Self::Redirect,
        Self::Render,
        Self::Address,
        Self::Function,
        Self::Deadline,
    ];

    /// The word in tables, URLs, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Redirect => "redirect",
            Self::Render => "render",
            Self::Address => "address",
            Self::Function => "function",
            Self::Deadline => "deadline",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A delivery as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The key.
    pub id: DeliveryId,
    /// Its event.
    pub event_id: EventId,
    /// Its mapping.
    pub mapping_id: MappingId,
    /// The mapping's destination.
    pub destination_id: DestinationId,
    /// Where it stands.
    pub state: State,
    /// When its event was accepted.
    pub accepted_at: Timestamp,
    /// When it is tried next; only while pending.
    pub due_at: Option<Timestamp>,
    /// When its window ends.
    pub deadline_at: Timestamp,
    /// The token of its last lease: the number of its last attempt.
    pub token: u32,
    /// Attempts made in the window now running, but for those in batches that were refused as a whole.
    pub tried: u32,
    /// Who holds it; only while leased.
    pub lease_node_id: Option<NodeId>,
    /// When the lease ends; only while leased.
    pub lease_expires_at: Option<Timestamp>,
    /// When it was delivered, died or was discarded.
    pub settled_at: Option<Timestamp>,
    /// Why it is dead; only while dead.
    pub reason: Option<Reason>,
    /// How its last attempt ended.
    pub last_outcome: Option<Outcome>,
    /// The HTTP status of its last attempt.
    pub last_status: Option<u16>,
    /// The delivery of the same event and destination whose success settled this one, where the
    /// destination's policy is `any`; none for one that its own receiver took.
    pub settled_by: Option<DeliveryId>,
}
