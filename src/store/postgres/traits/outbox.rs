//! Accepting on PostgreSQL: the writers group concurrent calls into one commit.

use async_trait::async_trait;

use super::super::PostgresStore;
use super::super::accept::Arrival;
use crate::store::{Accepted, Capacity, NewEvent, Outbox, StoreError};

impl Capacity for PostgresStore {
    fn has_room(&self) -> bool {
        self.queue.has_room()
    }
}

#[async_trait]
impl Outbox for PostgresStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if !self.has_room() {
            return Err(StoreError::Full);
        }
        let keys = &self.shared.keys;
        let arrivals = events.into_iter().map(|new| Arrival::new(new, keys)).collect();
        self.queue.accept(arrivals).await
    }
}
