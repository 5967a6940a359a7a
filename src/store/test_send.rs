//! Test sends: what an operator's tries of a mapping gave, apart from deliveries and their attempts.

use crate::domain::attempt::NewAttempt;
use crate::domain::id::{EventId, MappingId};

/// One try, before it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSend {
    /// The mapping.
    pub mapping_id: MappingId,
    /// The event; none for a sample.
    pub event_id: Option<EventId>,
    /// What it gave.
    pub attempt: NewAttempt,
}

/// One try as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSendRow {
    /// Its key: later ones are higher.
    pub id: i64,
    /// The try.
    pub test: TestSend,
}
