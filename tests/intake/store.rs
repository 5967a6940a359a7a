//! The store's trait over the memory that these tests need: accepting. All other steps answer that
//! the store is closed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider::domain::attempt::Attempt;
use postrider::domain::audit::{Entry, NewEntry};
use postrider::domain::auth::Act;
use postrider::domain::clock::Timestamp;
use postrider::domain::event::StoredEvent;
use postrider::domain::id::{DeliveryId, EventId, JobId, MappingId, NodeId, TokenId};
use postrider::domain::job::{Job, JobAction, JobFilter, NewJob};
use postrider::domain::mapping::MappingRevision;
use postrider::store::{
    Accepted, AccessStore, AttemptQuery, AttemptRow, AuditQuery, AuditVerdict, Claim, ClaimRequest,
    ConnectionChange, DeadLetterGroup, DeliveryQuery, DeliveryRow, EventQuery, ExpiredLease,
    ExpiryScope, Finding, JobPreview, JobQuery, JobStep, LeaseRef, Ledger, Level, Listed,
    ListedEvents, NewEvent, NewToken, Pipeline, PipelineChange, PruneRequest, Pruned, Record,
    Recorded, Repeat, RepeatKey, Revocation, Routing, SealedSecret, StatisticsQuery, StatisticsRow,
    Store, StoreError, TestSend, TestSendRow, Token,
};

use postrider::domain::alert::{Alert, AlertKind};
use postrider::store::AlertStore;

use super::stage::MemoryStore;

#[async_trait]
impl Store for MemoryStore {
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Accepted>, StoreError> {
        Self::accept(self, events).await
    }

    async fn claim_due(&self, _: ClaimRequest) -> Result<Claim, StoreError> {
        Err(StoreError::Closed)
    }

    async fn record(&self, _: Arc<Vec<Record>>) -> Result<Vec<Recorded>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn release(&self, _: Vec<LeaseRef>, _: Timestamp) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn expired_leases(
        &self,
        _: ExpiryScope,
        _: u32,
    ) -> Result<Vec<ExpiredLease>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn settle_overdue(&self, _: ClaimRequest) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn next_due(&self, _: &[MappingId]) -> Result<Vec<(MappingId, Timestamp)>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn shift_schedule(&self, _: i64) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn discard_removed(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn preview_job(
        &self,
        _: JobAction,
        _: JobFilter,
        _: u32,
    ) -> Result<JobPreview, StoreError> {
        Err(StoreError::Closed)
    }

    async fn create_job(&self, _: NewJob, _: Act) -> Result<Job, StoreError> {
        Err(StoreError::Closed)
    }

    async fn step_job(
        &self,
        _: JobId,
        _: u32,
        _: Timestamp,
    ) -> Result<Option<JobStep>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn cancel_job(&self, _: JobId, _: Act) -> Result<Option<Job>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn job(&self, _: JobId) -> Result<Option<Job>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn jobs(&self, _: JobQuery) -> Result<Vec<Job>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn pipeline(&self) -> Result<Pipeline, StoreError> {
        Err(StoreError::Closed)
    }

    async fn change_pipeline(
        &self,
        _: i64,
        _: Vec<PipelineChange>,
        _: Act,
    ) -> Result<i64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn put_connection(&self, _: ConnectionChange, _: Act) -> Result<i64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn record_test(&self, _: TestSend, _: Act) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn statistics(&self, _: StatisticsQuery) -> Result<Vec<StatisticsRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn statistics_by_mapping(
        &self,
        _: StatisticsQuery,
    ) -> Result<Vec<StatisticsRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn revisions(
        &self,
        _: MappingId,
        _: Option<u32>,
        _: u32,
    ) -> Result<Vec<MappingRevision>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn test_sends(&self, _: MappingId) -> Result<Vec<TestSendRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn event(&self, _: EventId) -> Result<Option<StoredEvent>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn routing(&self, _: EventId) -> Result<Routing, StoreError> {
        Err(StoreError::Closed)
    }

    async fn events(&self, _: EventQuery) -> Result<ListedEvents, StoreError> {
        Err(StoreError::Closed)
    }

    async fn delivery(&self, _: DeliveryId) -> Result<Option<DeliveryRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn deliveries(&self, _: DeliveryQuery) -> Result<Listed<DeliveryRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn list_attempts(&self, _: AttemptQuery) -> Result<Listed<AttemptRow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn attempts(&self, _: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        Err(StoreError::Closed)
    }

    fn ledger(&self) -> Ledger {
        Ledger::default()
    }

    fn has_room(&self) -> bool {
        Self::has_room(self)
    }

    async fn register_node(&self, _: &str, _: Timestamp) -> Result<NodeId, StoreError> {
        Err(StoreError::Closed)
    }

    async fn heartbeat(&self, _: NodeId, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn last_seen_at(&self) -> Result<Option<Timestamp>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn prune(&self, _: PruneRequest) -> Result<Pruned, StoreError> {
        Err(StoreError::Closed)
    }

    async fn rotate_deduplication(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn add_statistics(&self, _: Vec<StatisticsRow>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn note_level(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn levels(
        &self,
        _: std::ops::Range<Timestamp>,
        _: Duration,
    ) -> Result<Vec<Level>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn examine(&self, _: Timestamp) -> Result<Vec<Finding>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn close(&self) {}
}

#[async_trait]
impl AlertStore for MemoryStore {
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn put_alert(&self, _: Alert) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn forget_alert(&self, _: AlertKind, _: &str) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl AccessStore for MemoryStore {
    async fn create_token(&self, _: NewToken, _: Act) -> Result<Token, StoreError> {
        Err(StoreError::Closed)
    }

    async fn admit_token(&self, _: NewToken, _: Act) -> Result<Option<Token>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn revoke_token(&self, _: &str, _: Act) -> Result<Revocation, StoreError> {
        Err(StoreError::Closed)
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn begin_once(
        &self,
        _: RepeatKey,
        _: [u8; 32],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Repeat, StoreError> {
        Err(StoreError::Closed)
    }

    async fn end_once(&self, _: RepeatKey, _: Option<SealedSecret>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn note(&self, _: Act, _: NewEntry) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn audit(&self, _: AuditQuery) -> Result<Vec<Entry>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        Err(StoreError::Closed)
    }

    async fn audit_hash(&self, _: i64) -> Result<Option<[u8; 32]>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn note_token_uses(&self, _: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}
