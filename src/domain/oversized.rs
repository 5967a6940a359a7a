//! What becomes of a batch that has an event beyond the limit of an event's size.

/// The effect of an oversized event on its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OversizedEvents {
    /// The event is kept as rejected, its first bytes with the reason; the others are accepted.
    #[default]
    RejectEvent,
    /// The batch is refused, as Segment does.
    RejectBatch,
}

impl OversizedEvents {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::RejectEvent, Self::RejectBatch];

    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RejectEvent => "reject_event",
            Self::RejectBatch => "reject_batch",
        }
    }
}
