//! Pauses of destinations and mappings: their deliveries are held while events are accepted and routed. A
//! pause is an operator's switch beside the pipeline's document, which neither sets nor ends it.

use super::id::{DestinationId, MappingId};
use super::service_time::ServiceTime;
use crate::domain::clock::Timestamp;

/// What is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseTarget {
    /// A destination with its mappings.
    Destination(DestinationId),
    /// One mapping.
    Mapping(MappingId),
}

impl PauseTarget {
    /// Its kind in tables.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Destination(_) => "destination",
            Self::Mapping(_) => "mapping",
        }
    }

    /// Its key, among those of its kind.
    #[must_use]
    pub const fn key(self) -> i64 {
        match self {
            Self::Destination(id) => id.0,
            Self::Mapping(id) => id.0,
        }
    }

    /// From its kind and key.
    #[must_use]
    pub fn parse(kind: &str, key: i64) -> Option<Self> {
        match kind {
            "destination" => Some(Self::Destination(DestinationId(key))),
            "mapping" => Some(Self::Mapping(MappingId(key))),
            _ => None,
        }
    }
}

/// Why something was paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// An operator paused it.
    Operator,
    /// Its receiver answered 410, and its destination pauses then.
    Gone,
}

impl PauseCause {
    /// The name in tables and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gone => "gone",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Operator, Self::Gone].into_iter().find(|cause| cause.as_str() == word)
    }
}

/// The state of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseState {
    /// Deliveries are held.
    Paused,
    /// Resumed; what was held drains at a rate.
    Draining {
        /// Deliveries that start in a second.
        per_second: u32,
    },
    /// Resumed.
    Resumed,
}

impl PauseState {
    /// The name in tables and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Draining { .. } => "draining",
            Self::Resumed => "resumed",
        }
    }

    /// From its name and its rate.
    #[must_use]
    pub fn parse(word: &str, per_second: Option<u32>) -> Option<Self> {
        match (word, per_second) {
            ("paused", None) => Some(Self::Paused),
            ("draining", Some(per_second)) => Some(Self::Draining { per_second }),
            ("resumed", None) => Some(Self::Resumed),
            _ => None,
        }
    }
}

/// A pause, or what is left of one that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub target: PauseTarget,
    /// Its state.
    pub state: PauseState,
    /// When it was last paused or resumed.
    pub changed_at: Timestamp,
    /// When it was last resumed: what was held gets a fresh window from here.
    pub resumed_at: Option<ServiceTime>,
    /// Who changed it: a token's name, or `postrider`.
    pub changed_by: String,
    /// Why it was paused.
    pub cause: PauseCause,
    /// The operator's note.
    pub note: Option<String>,
}

impl Pause {
    /// Whether deliveries are held.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        matches!(self.state, PauseState::Paused)
    }

    /// The rate at which what was held drains, since when it does.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        match self.state {
            PauseState::Draining { per_second } => {
                Some(Drain { resumed_at: self.resumed_at?, per_second })
            }
            PauseState::Paused | PauseState::Resumed => None,
        }
    }
}

/// A drain: deliveries that were due when a pause ended start at a rate until none of them is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When the pause ended.
    pub resumed_at: ServiceTime,
    /// Deliveries that start in a second.
    pub per_second: u32,
}
