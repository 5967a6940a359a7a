//! Limits of a tracking request. All are checked before anything is accepted.

/// Bytes of a request's body, compressed and after decompression: twice Segment's batch limit of 512 KiB.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// Bytes of one event.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// Bytes of an oversized event that are kept with its rejection.
pub const KEPT_HEAD_BYTES: usize = 4 * 1024;

/// Events in a batch.
pub const MAX_BATCH_MESSAGES: usize = 2_500;

/// Bytes of the fields that a batch adds to each of its events.
pub const MAX_ENVELOPE_BYTES: usize = 32 * 1024;

/// Bytes of these fields times the number of events: they are stored with each event.
pub const MAX_MERGED_BYTES: usize = 8 * 1024 * 1024;

/// Characters of a messageId.
pub const MAX_MESSAGE_ID_CHARS: usize = 100;

/// Memory limit of all requests in progress that have a write key in their headers, in bytes.
pub(super) const MEMORY_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The same for requests whose write key may be in their body: unauthenticated requests cannot starve
/// authenticated ones.
pub(super) const UNAUTHENTICATED_MEMORY_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a refused request that are drained so that the sender reads the response; after that the
/// connection is closed.
pub(super) const MAX_DRAINED_BYTES: usize = 4 * MAX_REQUEST_BYTES;
