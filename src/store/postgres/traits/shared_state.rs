//! What nodes share, on PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;

use super::super::{PostgresStore, shared_state};
use crate::domain::id::{DestinationId, NodeId};
use crate::store::{CircuitChanges, SharedState, Sharing, StoreError, Takeover};

#[async_trait]
impl Sharing for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn shared_state(&self) -> Result<SharedState, StoreError> {
        const CONTEXT: &str = "read what nodes share";
        self.read(CONTEXT, |conn| Box::pin(shared_state::read(conn))).await
    }

    async fn renew_owners(
        &self,
        node_id: NodeId,
        owned: Vec<(DestinationId, Duration)>,
    ) -> Result<Vec<DestinationId>, StoreError> {
        self.step(shared_state::RenewOwners { node_id, owned }).await
    }

    async fn take_over(&self, node_id: NodeId, wanted: Vec<Takeover>) -> Result<(), StoreError> {
        self.step(shared_state::TakeOver { node_id, wanted }).await
    }

    async fn release_owners(
        &self,
        node_id: NodeId,
        owned: Vec<DestinationId>,
    ) -> Result<(), StoreError> {
        self.step(shared_state::ReleaseOwners { node_id, owned }).await
    }

    async fn put_circuits(&self, changes: CircuitChanges) -> Result<(), StoreError> {
        self.step(shared_state::PutCircuits(changes)).await
    }
}
