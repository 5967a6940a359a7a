//! Sources: where events come from.

use super::id::SourceId;
use crate::domain::clock::Timestamp;

/// Where events come from; its write keys let senders in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The key.
    pub id: SourceId,
    /// The identity: unique.
    pub name: String,
    /// A disabled source refuses events.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}
