//! The inbox on PostgreSQL: a writer of its own takes from it, so that events over HTTP and messages in the inbox do
//! not wait for each other.

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::writer::{Done, Work};
use super::super::{PostgresStore, inbox};
use crate::domain::inbox::Backlog;
use crate::store::{Accepted, Inbox, InboxTake, StoreError, WaitingSource};

#[async_trait]
impl Inbox for PostgresStore {
    async fn waiting_sources(&self, most: u32) -> Result<Vec<WaitingSource>, StoreError> {
        const CONTEXT: &str = "look at the inbox";
        let mut conn = self.worker(CONTEXT).await?;
        inbox::waiting_sources(&mut conn, most).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn take(&self, request: InboxTake) -> Result<Vec<Accepted>, StoreError> {
        const CONTEXT: &str = "take from the inbox";
        let mut taker = self.inbox_taker.lock().await;
        let taker = taker.as_mut().ok_or(StoreError::Closed)?;
        match taker.commit(&Work::Take(&request)).await {
            Ok(Done::Accepted(answers)) => Ok(answers),
            Ok(Done::Recorded(_)) => Ok(Vec::new()),
            Err(failure) => Err(to_store(CONTEXT, failure)),
        }
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        const CONTEXT: &str = "count the inbox";
        let mut conn = self.worker(CONTEXT).await?;
        inbox::backlog(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }
}
