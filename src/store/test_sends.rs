//! Test sends: attempts that an operator made by hand, stored apart from deliveries and not counted.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attempt::NewAttempt;
use crate::domain::auth::Act;
use crate::domain::id::{EventId, MappingId};

/// A test send to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSend {
    /// The mapping.
    pub mapping_id: MappingId,
    /// The event; none for a sample.
    pub event_id: Option<EventId>,
    /// The attempt.
    pub attempt: NewAttempt,
}

/// A recorded test send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSendRow {
    /// Its key.
    pub id: i64,
    /// The test send.
    pub test: TestSend,
}

/// Stored test sends.
#[async_trait]
pub trait TestSends: Send + Sync + 'static {
    /// Records a test send, and prunes the mapping's oldest beyond a hundred.
    async fn record_test_send(&self, test: TestSend, act: Act) -> Result<(), StoreError>;

    /// A mapping's test sends, newest first.
    async fn test_sends(&self, mapping_id: MappingId) -> Result<Vec<TestSendRow>, StoreError>;
}
