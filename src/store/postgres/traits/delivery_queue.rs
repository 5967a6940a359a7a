//! Claiming, recording and expiring on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::{PostgresStore, claim, lease, list};
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, MappingId};
use crate::domain::service_time::ServiceTime;
use crate::store::{
    Claim, ClaimRequest, DeliveryQueue, DueTimes, ExpiredLease, LeaseRef, LeasedDelivery, Record,
    Recorded, StoreError,
};

#[async_trait]
impl DueTimes for PostgresStore {
    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, ServiceTime)>, StoreError> {
        const CONTEXT: &str = "look for what is due next";
        let mappings = mappings.to_vec();
        let low = vec![i64::MIN; mappings.len()];
        self.read(CONTEXT, |conn| {
            Box::pin(async move { Ok(claim::next_due(conn, &mappings, &low).await?) })
        })
        .await
    }
}

#[async_trait]
impl DeliveryQueue for PostgresStore {
    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        let now = request.now.service;
        let mappings: Vec<MappingId> = request.wants.iter().map(|want| want.mapping_id).collect();
        let low = self.low_water.begin(&mappings, now);
        let leased = self.step(claim::ClaimDue { request, low }).await?;
        leased.ends.iter().for_each(|(mapping_id, at)| self.low_water.end(*mapping_id, *at));
        match self.with_events(&leased.deliveries).await {
            Ok(deliveries) => {
                Ok(Claim { deliveries, next_due: leased.next_due, overdue: leased.overdue })
            }
            Err(error) => {
                // Released now rather than expired later.
                let leases = leased.deliveries.iter().map(claim::Claimed::lease).collect();
                let _ = self.release(leases, now).await;
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
        self.step(lease::Release { leases, due_at }).await
    }

    async fn extend(&self, leases: Vec<LeaseRef>, until: ServiceTime) -> Result<(), StoreError> {
        self.step(lease::Extend { leases, until }).await
    }

    async fn expired_leases(
        &self,
        now: ServiceTime,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        const CONTEXT: &str = "look for expired leases";
        let by = (self.shared.keys.slot(), now);
        self.read(CONTEXT, |conn| Box::pin(lease::expired(conn, by, limit))).await
    }

    async fn bury_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError> {
        self.step(claim::BuryOverdue(request)).await
    }

    async fn delivery_state(&self, id: DeliveryId) -> Result<Option<State>, StoreError> {
        const CONTEXT: &str = "read a delivery's state";
        let found = self.read(CONTEXT, |conn| Box::pin(list::delivery(conn, id))).await?;
        Ok(found.map(|row| row.delivery.state))
    }
}

impl PostgresStore {
    /// Joins claimed deliveries with their events; deliveries of one event share a copy.
    async fn with_events(
        &self,
        claimed: &[claim::Claimed],
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        const CONTEXT: &str = "read the events of claimed deliveries";
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let of_claimed = claimed.to_vec();
        let events = self
            .read(CONTEXT, |conn| Box::pin(async move { claim::events(conn, &of_claimed).await }))
            .await?;
        claimed
            .iter()
            .map(|delivery| {
                let event =
                    events.get(&delivery.event_id()).ok_or_else(|| StoreError::Foreign {
                        what: format!("a delivery without its event, {}", delivery.event_id().0),
                    })?;
                Ok(delivery.with_event(Arc::clone(event)))
            })
            .collect()
    }
}
