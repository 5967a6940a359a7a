//! Accepting on PostgreSQL: the writers group concurrent calls into one commit.

use std::time::Duration;

use async_trait::async_trait;

use super::super::accept::Arrival;
use super::super::error::to_store;
use super::super::{PostgresStore, counts};
use crate::domain::source_limiter::SourceUsage;
use crate::store::{Accepted, Capacity, NewEvent, Outbox, StoreError};

/// How long requests are refused without asking after the server could not be reached.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Capacity for PostgresStore {
    fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    fn is_reached(&self) -> bool {
        self.shared.unreached_at().is_none()
    }

    fn failure(&self) -> Option<String> {
        // The database outlives this process: what it cannot write now, it may write later.
        None
    }
}

impl PostgresStore {
    async fn accept_events(
        &self,
        events: Vec<NewEvent>,
        are_counted: bool,
    ) -> Result<Vec<Accepted>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if !self.has_room() {
            return Err(StoreError::Full);
        }
        // A sender gets its answer at once; one request a second asks again.
        if self.shared.unreached_at().is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            let source = "the last request found no server".into();
            return Err(StoreError::Unreachable { context: "accept events", source });
        }
        let keys = &self.shared.keys;
        let arrivals = events.into_iter().map(|new| Arrival::new(new, keys, are_counted)).collect();
        self.queue.accept(arrivals).await
    }
}

#[async_trait]
impl Outbox for PostgresStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        self.accept_events(events, false).await
    }

    async fn accept_counted(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        self.accept_events(events, true).await
    }

    async fn source_usage(&self, since_day: i64) -> Result<Vec<SourceUsage>, StoreError> {
        const CONTEXT: &str = "read the usage of sources";
        let mut conn = self.reader(CONTEXT).await?;
        counts::usage_since(&mut conn, since_day).await.map_err(|error| to_store(CONTEXT, error))
    }
}
