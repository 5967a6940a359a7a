//! Conditions on events and HTTP statuses, shared by the filters of lists and of jobs.

use serde::{Deserialize, Serialize};

use super::event::EventType;
use super::id::SourceId;

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
}

/// Conditions on an event; all must hold.
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
    /// Whether there are none: every event matches.
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
    fn a_status_range_prints_as_it_is_given_in_a_query() {
        let printed = |from, to| StatusRange { from, to }.to_string();
        assert_eq!(
            [printed(503, 503), printed(500, 599), printed(200, 204)],
            ["503", "5xx", "200-204"]
        );
    }
}
