//! The de-duplication key of a message, the same on every engine.

use crate::domain::digest::sha256;
use crate::domain::id::SourceId;

/// The first 16 bytes of SHA-256(source, messageId).
pub(super) type MessageKey = [u8; 16];

/// The key of a source's message.
pub(super) fn message_key(source_id: SourceId, message_id: &str) -> MessageKey {
    let digest = sha256(&[&source_id.0.to_be_bytes(), message_id.as_bytes()]);
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
