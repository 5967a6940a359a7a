//! The outbox in memory, as these tests need it.

use async_trait::async_trait;
use postrider::domain::source_limiter::SourceUsage;
use postrider::store::{Accepted, Capacity, NewEvent, Outbox, StoreError};

use super::stage::MemoryStore;

impl Capacity for MemoryStore {
    fn has_room(&self) -> bool {
        Self::has_room(self)
    }

    fn failure(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        Self::accept(self, events).await
    }

    async fn accept_counted(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        Self::accept(self, events).await
    }

    async fn source_usage(&self, _since_day: i64) -> Result<Vec<SourceUsage>, StoreError> {
        Ok(Vec::new())
    }
}
