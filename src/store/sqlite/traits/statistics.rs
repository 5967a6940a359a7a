//! Statistics on SQLite; the ledger is answered from the writer's memory.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{SqliteStore, statistics};
use crate::domain::clock::Timestamp;
use crate::domain::ledger::Ledger;
use crate::store::statistics_sums::By;
use crate::store::{BacklogSample, Statistics, StatisticsQuery, StatisticsRow, StoreError};

#[async_trait]
impl Statistics for SqliteStore {
    async fn ledger(&self) -> Result<Ledger, StoreError> {
        Ok(self.status.ledger())
    }

    async fn statistics(&self, query: StatisticsQuery) -> Result<Vec<StatisticsRow>, StoreError> {
        const CONTEXT: &str = "read statistics";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::statistics(&mut conn, &query, By::Time)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn statistics_by_mapping(
        &self,
        query: StatisticsQuery,
    ) -> Result<Vec<StatisticsRow>, StoreError> {
        const CONTEXT: &str = "read statistics by mapping";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::statistics(&mut conn, &query, By::Mapping)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn rolled_up_statistics(
        &self,
        since: Timestamp,
    ) -> Result<Vec<StatisticsRow>, StoreError> {
        const CONTEXT: &str = "read statistics by minute";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::rolled_up(&mut conn, since).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn backlog(
        &self,
        span: Range<Timestamp>,
        step: Duration,
    ) -> Result<Vec<BacklogSample>, StoreError> {
        const CONTEXT: &str = "read the backlog";
        let mut conn = self.reader(CONTEXT).await?;
        statistics::levels(&mut conn, span, step).await.map_err(|error| to_store(CONTEXT, error))
    }
}
