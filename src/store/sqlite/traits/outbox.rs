//! Accepting on SQLite: the writer groups concurrent calls into one commit.

use async_trait::async_trait;

use super::super::accept::Arrival;
use super::super::error::to_store;
use super::super::{SqliteStore, source_usage};
use crate::domain::source_limiter::SourceUsage;
use crate::store::{Accepted, Capacity, NewEvent, Outbox, StoreError};

impl Capacity for SqliteStore {
    fn has_room(&self) -> bool {
        self.status.has_room()
    }

    fn failure(&self) -> Option<String> {
        self.status.failure()
    }
}

impl SqliteStore {
    async fn accept_events(
        &self,
        events: Vec<NewEvent>,
        are_counted: bool,
    ) -> Result<Vec<Accepted>, StoreError> {
        // A request's events are of one source.
        let Some(source_id) = events.first().map(|it| it.event.source_id) else {
            return Ok(Vec::new());
        };
        if !self.has_room() {
            return Err(StoreError::Full);
        }
        let arrivals = events.into_iter().map(|new| Arrival::new(new, are_counted)).collect();
        self.queue.accept(source_id, arrivals).await
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        self.accept_events(events, false).await
    }

    async fn accept_counted(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        self.accept_events(events, true).await
    }

    async fn source_usage(&self, since_day: i64) -> Result<Vec<SourceUsage>, StoreError> {
        const CONTEXT: &str = "read the usage of sources";
        let mut conn = self.reader(CONTEXT).await?;
        source_usage::since(&mut conn, since_day).await.map_err(|error| to_store(CONTEXT, error))
    }
}
