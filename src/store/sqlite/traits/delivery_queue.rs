//! Claiming, recording and expiring on SQLite. One process runs at a time: once it has registered
//! its node, every other node has ended.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::lease::ExpiryScope;
use super::super::{SqliteStore, claim, lease, list};
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, MappingId};
use crate::domain::service_time::ServiceTime;
use crate::store::{
    Claim, ClaimRequest, DeliveryQueue, DueTimes, ExpiredLease, LeaseRef, LeasedDelivery, Record,
    Recorded, StoreError,
};

#[async_trait]
impl DueTimes for SqliteStore {
    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, ServiceTime)>, StoreError> {
        const CONTEXT: &str = "look for what is due next";
        let mut conn = self.delivery_reader(CONTEXT).await?;
        claim::next_due(&mut conn, mappings).await.map_err(|error| to_store(CONTEXT, error))
    }
}

#[async_trait]
impl DeliveryQueue for SqliteStore {
    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        let now = request.now;
        let leased = self.queue.claim(request).await?;
        match self.with_events(&leased.deliveries).await {
            Ok(deliveries) => {
                Ok(Claim { deliveries, next_due: leased.next_due, overdue: leased.overdue })
            }
            Err(error) => {
                // Released now rather than expired later.
                let leases = leased.deliveries.iter().map(claim::Claimed::lease).collect();
                let _ = self.release(leases, now.service).await;
                Err(error)
            }
        }
    }

    async fn record(&self, records: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.queue.record(records).await
    }

    async fn release(&self, leases: Vec<LeaseRef>, due_at: ServiceTime) -> Result<u64, StoreError> {
        self.queue.step(lease::Release { leases, due_at }).await
    }

    async fn extend(&self, leases: Vec<LeaseRef>, until: ServiceTime) -> Result<(), StoreError> {
        self.queue.step(lease::Extend { leases, until }).await
    }

    async fn expired_leases(
        &self,
        now: ServiceTime,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        if let Some(node_id) = self.predecessors_of() {
            let found = self.leases_in(ExpiryScope::OtherThan(node_id), limit).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            self.predecessors_expired();
        }
        self.leases_in(ExpiryScope::Until(now), limit).await
    }

    async fn bury_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError> {
        const CONTEXT: &str = "look for overdue deliveries";
        let mut found = Vec::new();
        {
            let mut conn = self.delivery_reader(CONTEXT).await?;
            for want in &request.wants {
                let mut overdue = claim::find_overdue(&mut conn, want, request.now.service)
                    .await
                    .map_err(|error| to_store(CONTEXT, error))?;
                found.append(&mut overdue);
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        self.queue.step(claim::DeadLetterOverdue { found, now: request.now }).await
    }

    async fn delivery_state(&self, id: DeliveryId) -> Result<Option<State>, StoreError> {
        const CONTEXT: &str = "read a delivery's state";
        let mut conn = self.delivery_reader(CONTEXT).await?;
        let found =
            list::delivery(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))?;
        Ok(found.map(|row| row.delivery.state))
    }
}

impl SqliteStore {
    async fn leases_in(
        &self,
        scope: ExpiryScope,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        const CONTEXT: &str = "look for expired leases";
        let mut conn = self.delivery_reader(CONTEXT).await?;
        lease::expired(&mut conn, scope, limit).await.map_err(|error| to_store(CONTEXT, error))
    }

    /// Joins claimed deliveries with their events; deliveries of one event share a copy.
    async fn with_events(
        &self,
        claimed: &[claim::Claimed],
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        const CONTEXT: &str = "read the events of claimed deliveries";
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.delivery_reader(CONTEXT).await?;
        let events =
            claim::events(&mut conn, claimed).await.map_err(|error| to_store(CONTEXT, error))?;
        claimed
            .iter()
            .map(|delivery| {
                let event = events.get(&delivery.event_id).ok_or_else(|| StoreError::Foreign {
                    what: format!("a delivery, {}, without its event", delivery.id.0),
                })?;
                Ok(delivery.with_event(Arc::clone(event)))
            })
            .collect()
    }
}
