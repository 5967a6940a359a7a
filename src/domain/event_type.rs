//! Event types: the message types of Segment's tracking API.

use serde::{Deserialize, Serialize};

/// Segment's message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// An action of a user.
    Track,
    /// A user and their traits.
    Identify,
    /// A page view.
    Page,
    /// An app's screen view.
    Screen,
    /// A group that a user belongs to.
    Group,
    /// Two ids of one user.
    Alias,
    /// A request to delete a user's data.
    Delete,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Track,
        Self::Identify,
        Self::Page,
        Self::Screen,
        Self::Group,
        Self::Alias,
        Self::Delete,
    ];

    /// The message's `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
            Self::Delete => "delete",
        }
    }

    /// Parses the message's `type`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
