//! Pauses and receivers' waits on PostgreSQL.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, pause, removed};
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::domain::pause::{PauseCause, PauseTarget};
use crate::domain::service_time::ServiceTime;
use crate::store::{Pauses, StoreError};

#[async_trait]
impl Pauses for PostgresStore {
    async fn pause(
        &self,
        target: PauseTarget,
        cause: PauseCause,
        act: Act,
    ) -> Result<bool, StoreError> {
        self.step(pause::PauseStep { target, cause, act }).await
    }

    async fn resume(
        &self,
        target: PauseTarget,
        per_second: Option<u32>,
        act: Act,
    ) -> Result<bool, StoreError> {
        self.step(pause::ResumeStep { target, per_second, act }).await
    }

    async fn end_drain(
        &self,
        target: PauseTarget,
        resumed_at: ServiceTime,
    ) -> Result<(), StoreError> {
        self.step(pause::EndDrain { target, resumed_at }).await
    }

    async fn pending(
        &self,
        mappings: Vec<MappingId>,
        at_most: u32,
    ) -> Result<BTreeMap<MappingId, u64>, StoreError> {
        const CONTEXT: &str = "count pending deliveries";
        let mut conn = self.reader(CONTEXT).await?;
        let found = removed::pending(&mut conn, &mappings, at_most).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }

    async fn put_receiver_waits(
        &self,
        mappings: Vec<MappingId>,
        until: Option<ServiceTime>,
    ) -> Result<(), StoreError> {
        self.step(pause::PutReceiverWaits { mappings, until }).await
    }
}
