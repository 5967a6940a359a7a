//! The pipeline and its test sends on PostgreSQL.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{
    PostgresStore, credential, pipeline, pipeline_change, removed, test_send, token_refresh,
};
use crate::domain::auth::Act;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::mapping::MappingRevision;
use crate::store::{
    ConnectionChange, Pipeline, PipelineChange, PipelineStore, RefreshTurn, StoreError, TestSend,
    TestSendRow, TestSends,
};

#[async_trait]
impl PipelineStore for PostgresStore {
    async fn pipeline(&self) -> Result<Pipeline, StoreError> {
        const CONTEXT: &str = "read the pipeline";
        let mut conn = self.reader(CONTEXT).await?;
        pipeline::read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn waiting(
        &self,
        mappings: Vec<MappingId>,
    ) -> Result<BTreeMap<MappingId, u64>, StoreError> {
        const CONTEXT: &str = "count the deliveries that wait";
        let mut conn = self.reader(CONTEXT).await?;
        removed::waiting(&mut conn, &mappings).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn revisions(
        &self,
        mapping_id: MappingId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<MappingRevision>, StoreError> {
        const CONTEXT: &str = "list revisions";
        let mut conn = self.reader(CONTEXT).await?;
        let found = pipeline::revisions(&mut conn, mapping_id, before, limit).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }

    async fn change_pipeline(
        &self,
        expected_version: i64,
        changes: Vec<PipelineChange>,
        act: Act,
    ) -> Result<i64, StoreError> {
        self.step(pipeline_change::ChangePipeline { expected_version, changes, act }).await
    }

    async fn begin_refresh(
        &self,
        destination_id: DestinationId,
        number: i64,
    ) -> Result<RefreshTurn, StoreError> {
        self.step(token_refresh::TakeTurn { destination_id, number }).await
    }

    async fn change_connection(
        &self,
        change: ConnectionChange,
        act: Act,
    ) -> Result<i64, StoreError> {
        self.step(credential::PutConnection { change, act }).await
    }
}

#[async_trait]
impl TestSends for PostgresStore {
    async fn record_test_send(&self, test: TestSend, act: Act) -> Result<(), StoreError> {
        self.step(test_send::RecordTest { test, act }).await
    }

    async fn test_sends(&self, mapping_id: MappingId) -> Result<Vec<TestSendRow>, StoreError> {
        const CONTEXT: &str = "list test sends";
        let mut conn = self.reader(CONTEXT).await?;
        test_send::test_sends(&mut conn, mapping_id).await.map_err(|error| to_store(CONTEXT, error))
    }
}
