//! SQLite's file has one process: it shares with no other.

use std::time::Duration;

use async_trait::async_trait;

use super::super::SqliteStore;
use crate::domain::id::{DestinationId, NodeId};
use crate::store::{CircuitChanges, SharedState, Sharing, StoreError, Takeover};

#[async_trait]
impl Sharing for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn shared_state(&self) -> Result<SharedState, StoreError> {
        Ok(SharedState::default())
    }

    async fn renew_owners(
        &self,
        _node_id: NodeId,
        owned: Vec<(DestinationId, Duration)>,
    ) -> Result<Vec<DestinationId>, StoreError> {
        Ok(owned.into_iter().map(|(id, _)| id).collect())
    }

    async fn take_over(&self, _node_id: NodeId, _wanted: Vec<Takeover>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release_owners(
        &self,
        _node_id: NodeId,
        _owned: Vec<DestinationId>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_circuits(&self, _changes: CircuitChanges) -> Result<(), StoreError> {
        Ok(())
    }
}
