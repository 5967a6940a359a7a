//! What events and deliveries are narrowed by beyond what they are themselves: lists and jobs mean the
//! same by the same condition.

use serde::{Deserialize, Serialize};

use super::event::EventType;
use super::id::SourceId;

/// Statuses of HTTP answers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
}

/// What an event is like; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventConditions {
    /// Of this source.
    pub source_id: Option<SourceId>,
    /// Of this type.
    pub kind: Option<EventType>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this user.
    pub user_id: Option<String>,
    /// With this messageId.
    pub message_id: Option<String>,
}

impl EventConditions {
    /// Whether every event meets them.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for StatusRange {
    /// `503`, `5xx`, `500-503`.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to } = self;
        if from == to {
            write!(out, "{from}")
        } else if from % 100 == 0 && *to == from + 99 {
            write!(out, "{}xx", from / 100)
        } else {
            write!(out, "{from}-{to}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_prints_as_it_is_asked_for() {
        let told = |from, to| StatusRange { from, to }.to_string();
        assert_eq!([told(503, 503), told(500, 599), told(200, 204)], ["503", "5xx", "200-204"]);
    }
}
