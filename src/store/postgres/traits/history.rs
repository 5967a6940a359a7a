//! Queries of events, deliveries, attempts and dead letters on PostgreSQL, over the pool of readers.

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, attempt_list, dead_letters, list, pipeline};
use crate::domain::attempt::Attempt;
use crate::domain::event::StoredEvent;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::{
    AttemptQuery, AttemptRow, DeadLetterGroup, DeliveryQuery, DeliveryRow, EventQuery, History,
    Listed, Routing, StoreError,
};

#[async_trait]
impl History for PostgresStore {
    async fn event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        const CONTEXT: &str = "read an event";
        let mut conn = self.reader(CONTEXT).await?;
        list::event(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn routing(&self, id: EventId) -> Result<Routing, StoreError> {
        const CONTEXT: &str = "read an event's routing";
        let mut conn = self.reader(CONTEXT).await?;
        pipeline::routing(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn events(&self, query: EventQuery) -> Result<Listed<StoredEvent>, StoreError> {
        const CONTEXT: &str = "list events";
        let mut conn = self.reader(CONTEXT).await?;
        list::events(&mut conn, &query, self.scan_limits)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, StoreError> {
        const CONTEXT: &str = "read a delivery";
        let mut conn = self.reader(CONTEXT).await?;
        list::delivery(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Listed<DeliveryRow>, StoreError> {
        const CONTEXT: &str = "list deliveries";
        let mut conn = self.reader(CONTEXT).await?;
        list::deliveries(&mut conn, &query, self.scan_limits)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, StoreError> {
        const CONTEXT: &str = "group dead letters";
        let mut conn = self.reader(CONTEXT).await?;
        dead_letters::groups(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn attempts_of(&self, id: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        const CONTEXT: &str = "list a delivery's attempts";
        let mut conn = self.reader(CONTEXT).await?;
        list::attempts(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn attempts(&self, query: AttemptQuery) -> Result<Listed<AttemptRow>, StoreError> {
        const CONTEXT: &str = "list attempts";
        let mut conn = self.reader(CONTEXT).await?;
        let found = attempt_list::list(&mut conn, &query, self.scan_limits).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }
}
