//! Events: one accepted message each, kept byte for byte, and the document that mappings see.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::document::{self, DocumentError};
use super::id::{EventId, SourceId};
use super::trace::Trace;
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;

/// Segment's message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Something a user did.
    Track,
    /// Who a user is.
    Identify,
    /// A page was seen.
    Page,
    /// An app's screen was seen.
    Screen,
    /// A user belongs to a group.
    Group,
    /// Two ids are one user.
    Alias,
    /// A user's data is to be deleted.
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

    /// The word in the message's `type`.
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

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An event as it is kept: the message's own bytes, and beside them what intake added.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it came from.
    pub source_id: SourceId,
    /// Its type; none for a rejected message whose type is unknown.
    pub kind: Option<EventType>,
    /// The sender's id for it, or the one intake gave it.
    pub message_id: String,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The event's name (track), the page's or screen's name; for lists and filters.
    pub name: Option<String>,
    /// The message's `userId`, for lists and filters.
    pub user_id: Option<String>,
    /// The message byte for byte, but for its write key, which is cut out; in a batch, its item's
    /// bytes.
    pub body: Bytes,
    /// What the message's batch adds to it, as JSON text: `context`, `integrations`, `sentAt`.
    pub envelope: Option<String>,
    /// Why it was not routed; none for an event that was.
    pub rejection: Option<String>,
    /// The trace that its request was part of.
    pub trace: Option<Arc<Trace>>,
    /// What mappings see, once it has been made: see [`Event::document`].
    pub document: Document,
}

/// What mappings see of an event, and its digest, each made when it is first asked for: an event's
/// deliveries share both.
#[derive(Clone, Debug, Default)]
pub struct Document {
    bytes: OnceLock<Bytes>,
    sha256: OnceLock<[u8; 32]>,
}

impl Document {
    /// Its bytes, where they have been made.
    #[must_use]
    pub fn get(&self) -> Option<&Bytes> {
        self.bytes.get()
    }

    /// It has been made: these are its bytes. Those that it has already stay.
    pub fn set(&self, bytes: Bytes) {
        // The same bytes every time.
        let _ = self.bytes.set(bytes);
    }

    /// SHA-256 of what is sent for the event: hashed once where that is the document as it is.
    #[must_use]
    pub fn sha256_of(&self, body: &Bytes) -> [u8; 32] {
        let hash = || sha256(&[body]);
        let is_it = |bytes: &Bytes| bytes.as_ptr() == body.as_ptr() && bytes.len() == body.len();
        if self.get().is_some_and(is_it) { *self.sha256.get_or_init(hash) } else { hash() }
    }
}

impl Event {
    /// What mappings see: the message with what its batch and acceptance add, as
    /// `JSON.stringify` prints it, without its write key. Made once, the same bytes every time.
    ///
    /// # Errors
    /// [`DocumentError`] for a rejected event that has no type or is no object.
    pub fn document(&self) -> Result<&Bytes, DocumentError> {
        if let Some(made) = self.document.get() {
            return Ok(made);
        }
        let made = Bytes::from(document::of(self)?);
        Ok(self.document.bytes.get_or_init(|| made))
    }
}

/// An event with its key.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The key.
    pub id: EventId,
    /// The event.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_body_whether_it_is_the_document_or_not() {
        let document = Document::default();
        let (bytes, other) = (Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"a\":2}"));
        assert_eq!(document.sha256_of(&bytes), sha256(&[&bytes]), "none has been made");
        document.set(bytes.clone());
        for body in [&bytes, &other, &bytes, &bytes.slice(1..)] {
            assert_eq!(document.sha256_of(body), sha256(&[body]));
        }
    }
}
