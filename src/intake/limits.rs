//! What one request may have. All of it is checked before anything is accepted.

/// Bytes of a request's body, as it is sent and also after decompression: room for a batch of
/// 512 KiB and as much again around it.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// Bytes of one event.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// Events in a batch.
pub const MAX_BATCH_MESSAGES: usize = 2_500;

/// Bytes of what a batch adds to each of its events.
pub const MAX_ENVELOPE_BYTES: usize = 32 * 1024;

/// Bytes of that, times the batch's events: it is kept with each of them.
pub const MAX_MERGED_BYTES: usize = 8 * 1024 * 1024;

/// Characters of a messageId.
pub const MAX_MESSAGE_ID_CHARS: usize = 100;

/// Bytes of all requests that are being read or accepted at one time and have shown a write key.
pub(super) const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// The same for requests that may show one only in their body: whoever has none cannot crowd out
/// those who have.
pub(super) const MAX_HELD_UNKNOWN_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a refused request that are read and thrown away, so that its sender comes to read the
/// answer; after those the connection is closed on it.
pub(super) const MAX_DRAINED_BYTES: usize = 4 * MAX_REQUEST_BYTES;
