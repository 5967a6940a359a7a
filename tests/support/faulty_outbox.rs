//! An outbox in front of the real one whose steps a test makes wait, or panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postrider::domain::auth::Act;
use postrider::domain::delivery::State;
use postrider::domain::id::{DeliveryId, DestinationId, MappingId, NodeId};
use postrider::domain::pause::{PauseCause, PauseTarget};
use postrider::domain::service_time::ServiceTime;
use postrider::store::{
    CircuitChanges, Claim, ClaimRequest, DeliveryQueue, DueTimes, ExpiredLease, LeaseRef, Pauses,
    Record, Recorded, SharedState, Sharing, StoreError, Takeover,
};
use tokio::sync::watch;

/// What a test changes, shared by the outboxes of all restarts.
pub(crate) struct Faults {
    claims_panic: AtomicBool,
    records_panic: AtomicBool,
    records_flow: watch::Sender<bool>,
}

impl Faults {
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            claims_panic: AtomicBool::new(false),
            records_panic: AtomicBool::new(false),
            records_flow: watch::Sender::new(true),
        })
    }

    /// The next claim panics.
    pub(crate) fn panic_in_claims(&self) {
        self.claims_panic.store(true, Ordering::SeqCst);
    }

    /// The next record panics.
    pub(crate) fn panic_in_records(&self) {
        self.records_panic.store(true, Ordering::SeqCst);
    }

    /// Records wait (`false`), as for a slow disk, or go on.
    pub(crate) fn let_records_flow(&self, flow: bool) {
        self.records_flow.send_replace(flow);
    }

    /// Whether records go on.
    pub(crate) fn records_flow(&self) -> bool {
        *self.records_flow.borrow()
    }

    /// Wraps an outbox.
    pub(crate) fn wrap(self: Arc<Self>, outbox: Arc<dyn DeliveryQueue>) -> Arc<dyn DeliveryQueue> {
        Arc::new(FaultyOutbox { faults: self, outbox })
    }
}

struct FaultyOutbox {
    faults: Arc<Faults>,
    outbox: Arc<dyn DeliveryQueue>,
}

#[async_trait]
impl DueTimes for FaultyOutbox {
    async fn next_due(
        &self,
        mappings: &[MappingId],
    ) -> Result<Vec<(MappingId, ServiceTime)>, StoreError> {
        self.outbox.next_due(mappings).await
    }
}

#[async_trait]
impl Pauses for FaultyOutbox {
    async fn pause(
        &self,
        target: PauseTarget,
        cause: PauseCause,
        act: Act,
    ) -> Result<bool, StoreError> {
        self.outbox.pause(target, cause, act).await
    }

    async fn resume(
        &self,
        target: PauseTarget,
        per_second: Option<u32>,
        act: Act,
    ) -> Result<bool, StoreError> {
        self.outbox.resume(target, per_second, act).await
    }

    async fn end_drain(
        &self,
        target: PauseTarget,
        resumed_at: ServiceTime,
    ) -> Result<(), StoreError> {
        self.outbox.end_drain(target, resumed_at).await
    }

    async fn pending(
        &self,
        mappings: Vec<MappingId>,
        at_most: u32,
    ) -> Result<BTreeMap<MappingId, u64>, StoreError> {
        self.outbox.pending(mappings, at_most).await
    }

    async fn put_receiver_waits(
        &self,
        mappings: Vec<MappingId>,
        until: Option<ServiceTime>,
    ) -> Result<(), StoreError> {
        self.outbox.put_receiver_waits(mappings, until).await
    }
}

#[async_trait]
impl Sharing for FaultyOutbox {
    fn is_shared(&self) -> bool {
        self.outbox.is_shared()
    }

    async fn shared_state(&self) -> Result<SharedState, StoreError> {
        self.outbox.shared_state().await
    }

    async fn renew_owners(
        &self,
        node_id: NodeId,
        owned: Vec<(DestinationId, Duration)>,
    ) -> Result<Vec<DestinationId>, StoreError> {
        self.outbox.renew_owners(node_id, owned).await
    }

    async fn take_over(&self, node_id: NodeId, wanted: Vec<Takeover>) -> Result<(), StoreError> {
        self.outbox.take_over(node_id, wanted).await
    }

    async fn release_owners(
        &self,
        node_id: NodeId,
        owned: Vec<DestinationId>,
    ) -> Result<(), StoreError> {
        self.outbox.release_owners(node_id, owned).await
    }

    async fn put_circuits(&self, changes: CircuitChanges) -> Result<(), StoreError> {
        self.outbox.put_circuits(changes).await
    }
}

#[async_trait]
impl DeliveryQueue for FaultyOutbox {
    async fn claim_due(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        assert!(!self.faults.claims_panic.swap(false, Ordering::SeqCst), "injected into a claim");
        self.outbox.claim_due(request).await
    }

    async fn record(&self, records: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError> {
        assert!(!self.faults.records_panic.swap(false, Ordering::SeqCst), "injected into a record");
        // The faults outlive the outbox.
        let _ = self.faults.records_flow.subscribe().wait_for(|flow| *flow).await;
        self.outbox.record(records).await
    }

    async fn release(&self, leases: Vec<LeaseRef>, due_at: ServiceTime) -> Result<u64, StoreError> {
        self.outbox.release(leases, due_at).await
    }

    async fn extend(&self, leases: Vec<LeaseRef>, until: ServiceTime) -> Result<(), StoreError> {
        self.outbox.extend(leases, until).await
    }

    async fn expired_leases(
        &self,
        now: ServiceTime,
        limit: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        self.outbox.expired_leases(now, limit).await
    }

    async fn bury_overdue(&self, request: ClaimRequest) -> Result<u64, StoreError> {
        self.outbox.bury_overdue(request).await
    }

    async fn delivery_state(&self, id: DeliveryId) -> Result<Option<State>, StoreError> {
        self.outbox.delivery_state(id).await
    }
}
