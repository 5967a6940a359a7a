//! Sources: where events come from.

use super::id::SourceId;
use crate::domain::clock::Timestamp;

/// A source; its write keys authenticate senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The key.
    pub id: SourceId,
    /// The identity: unique.
    pub name: String,
    /// A disabled source rejects events.
    pub enabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
}
