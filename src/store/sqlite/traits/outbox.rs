//! Accepting on SQLite: the writer groups concurrent calls into one commit.

use async_trait::async_trait;

use super::super::SqliteStore;
use super::super::accept::Arrival;
use crate::store::{Accepted, Capacity, NewEvent, Outbox, StoreError};

impl Capacity for SqliteStore {
    fn has_room(&self) -> bool {
        self.status.has_room()
    }

    fn failure(&self) -> Option<String> {
        self.status.failure()
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if !self.has_room() {
            return Err(StoreError::Full);
        }
        self.queue.accept(events.into_iter().map(Arrival::new).collect()).await
    }
}
