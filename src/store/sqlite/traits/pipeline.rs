//! The pipeline and its test sends on SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{
    SqliteStore, credential, pipeline, pipeline_change, pipeline_staged, removed, test_send,
};
use crate::domain::auth::Act;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::mapping::MappingRevision;
use crate::store::{
    ConnectionChange, Pipeline, PipelineChange, PipelineStore, RefreshTurn, StoreError, TestSend,
    TestSendRow, TestSends,
};

#[async_trait]
impl PipelineStore for SqliteStore {
    async fn pipeline(&self) -> Result<Pipeline, StoreError> {
        const CONTEXT: &str = "read the pipeline";
        let _passed = self.pipeline_gate.pass(&self.queue).await?;
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
        if changes.len() > pipeline_staged::AT_ONCE {
            let gate = &self.pipeline_gate;
            return gate.change(&self.queue, expected_version, changes, act).await;
        }
        let _passed = self.pipeline_gate.pass(&self.queue).await?;
        self.queue.step(pipeline_change::ChangePipeline { expected_version, changes, act }).await
    }

    async fn begin_refresh(
        &self,
        _destination_id: DestinationId,
        _number: i64,
    ) -> Result<RefreshTurn, StoreError> {
        // No other node is there.
        Ok(RefreshTurn::Mine)
    }

    async fn change_connection(
        &self,
        change: ConnectionChange,
        act: Act,
    ) -> Result<i64, StoreError> {
        self.queue.step(credential::PutConnection { change, act }).await
    }
}

#[async_trait]
impl TestSends for SqliteStore {
    async fn record_test_send(&self, test: TestSend, act: Act) -> Result<(), StoreError> {
        self.queue.step(test_send::RecordTest { test, act }).await
    }

    async fn test_sends(&self, mapping_id: MappingId) -> Result<Vec<TestSendRow>, StoreError> {
        const CONTEXT: &str = "list test sends";
        let mut conn = self.reader(CONTEXT).await?;
        test_send::test_sends(&mut conn, mapping_id).await.map_err(|error| to_store(CONTEXT, error))
    }
}
