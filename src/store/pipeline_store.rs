//! Reading and changing the stored pipeline, under optimistic locking.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::pipeline::{ConnectionChange, Pipeline, RefreshTurn};
use super::pipeline_change::PipelineChange;
use crate::domain::auth::Act;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::mapping::MappingRevision;

/// The stored pipeline.
#[async_trait]
pub trait PipelineStore: Send + Sync + 'static {
    /// The whole pipeline, of one snapshot.
    async fn pipeline(&self) -> Result<Pipeline, StoreError>;

    /// How many deliveries of each mapping are pending or leased; mappings with none are left out.
    async fn waiting(
        &self,
        mappings: Vec<MappingId>,
    ) -> Result<BTreeMap<MappingId, u64>, StoreError>;

    /// A mapping's revisions, newest first; with `before` only those numbered below it.
    async fn revisions(
        &self,
        mapping_id: MappingId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<MappingRevision>, StoreError>;

    /// Commits all changes or none: [`StoreError::Conflict`] when the version is no longer
    /// `expected_version` (optimistic locking). Returns the new version.
    async fn change_pipeline(
        &self,
        expected_version: i64,
        changes: Vec<PipelineChange>,
        act: Act,
    ) -> Result<i64, StoreError>;

    /// Takes the turn to refresh the tokens of a connection with this number: one node at a time has it.
    async fn begin_refresh(
        &self,
        destination_id: DestinationId,
        number: i64,
    ) -> Result<RefreshTurn, StoreError>;

    /// Changes a connection's state: [`StoreError::Conflict`] when its number is another or the
    /// destination was removed. Returns the new number.
    async fn change_connection(
        &self,
        change: ConnectionChange,
        act: Act,
    ) -> Result<i64, StoreError>;
}
