//! Events: one accepted message each, stored byte for byte, and its document, which triggers and
//! mappings evaluate.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::document::{self, Added, DocumentError};
pub use super::event_type::EventType;
use super::id::{EventId, SourceId};
use super::trace::Trace;
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::json::{self, Value};

/// An event: the message's bytes, and what intake added.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its source.
    pub source_id: SourceId,
    /// Its type; none for a rejected message of unknown type.
    pub kind: Option<EventType>,
    /// The sender's `messageId`, or one that intake assigned.
    pub message_id: String,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The event's name (track), the page's or screen's name; for lists and filters.
    pub name: Option<String>,
    /// The message's `userId`, for lists and filters.
    pub user_id: Option<String>,
    /// The message byte for byte, without its write key; in a batch, its item's bytes.
    pub body: Bytes,
    /// The batch's shared fields as JSON text: `context`, `integrations`, `sentAt`.
    pub envelope: Option<String>,
    /// Why it was rejected; none for an event that was routed.
    pub rejection: Option<String>,
    /// The trace context of its request.
    pub trace: Option<Arc<Trace>>,
    /// The document, once composed: see [`Event::document`].
    pub document: Document,
}

/// An event's document and its digest, each computed at first use and shared by the event's deliveries.
#[derive(Clone, Debug, Default)]
pub struct Document {
    bytes: OnceLock<Bytes>,
    sha256: OnceLock<[u8; 32]>,
}

impl Document {
    /// Its bytes, if it has been composed.
    #[must_use]
    pub fn get(&self) -> Option<&Bytes> {
        self.bytes.get()
    }

    /// Sets its bytes, unless it has been composed already.
    pub fn set(&self, bytes: Bytes) {
        // Composing gives the same bytes every time.
        let _ = self.bytes.set(bytes);
    }

    /// SHA-256 of a request body; cached when the body is the document itself.
    #[must_use]
    pub fn sha256_of(&self, body: &Bytes) -> [u8; 32] {
        let hash = || sha256(&[body]);
        let is_document =
            |bytes: &Bytes| bytes.as_ptr() == body.as_ptr() && bytes.len() == body.len();
        if self.get().is_some_and(is_document) { *self.sha256.get_or_init(hash) } else { hash() }
    }
}

impl Event {
    /// The document: the message with its batch's shared fields and the fields that acceptance adds, as
    /// `JSON.stringify` prints it, without the write key. Composed once; deterministic.
    ///
    /// # Errors
    /// [`DocumentError`] for a rejected event that has no type or is no object.
    pub fn document(&self) -> Result<&Bytes, DocumentError> {
        if let Some(bytes) = self.document.get() {
            return Ok(bytes);
        }
        let bytes = Bytes::from(self.compose_document()?);
        Ok(self.document.bytes.get_or_init(|| bytes))
    }

    fn compose_document(&self) -> Result<Vec<u8>, DocumentError> {
        let kind = self.kind.ok_or(DocumentError::Untyped)?;
        let Value::Object(message) = json::parse(&self.body).map_err(DocumentError::Body)? else {
            return Err(DocumentError::NotAnObject);
        };
        let envelope = self.envelope.as_deref().map(|text| json::parse(text.as_bytes()));
        let envelope = envelope.transpose().map_err(DocumentError::Envelope)?;
        let added = Added { kind, message_id: &self.message_id, received_at: self.received_at };
        let envelope = envelope.as_ref().and_then(Value::as_object);
        Ok(document::print(&document::compose(message, envelope, added), self.body.len()))
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
    fn the_digest_of_a_body_is_right_whether_or_not_it_is_the_document() {
        let document = Document::default();
        let (bytes, other) = (Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"a\":2}"));
        assert_eq!(document.sha256_of(&bytes), sha256(&[&bytes]), "not composed yet");
        document.set(bytes.clone());
        for body in [&bytes, &other, &bytes, &bytes.slice(1..)] {
            assert_eq!(document.sha256_of(body), sha256(&[body]));
        }
    }
}
