//! A store with a small pipeline, and short words for the steps that tests make.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider::domain::attempt::{NewAttempt, Outcome};
use postrider::domain::auth::{Act, Role};
use postrider::domain::clock::{Clock, ManualClock, Moment, Timestamp};
use postrider::domain::delivery::{Delivery, Reason, State};
use postrider::domain::destination::{DeliveryPolicy, DestinationSettings};
use postrider::domain::event::{Document, Event, EventType};
use postrider::domain::id::{
    DeliveryId, DestinationId, EventId, MappingId, NodeId, RevisionId, SourceId,
};
use postrider::domain::mapping::{MappingDefinition, RequestMethod, UrlValues};
use postrider::domain::profile::Profile;
use postrider::domain::retry::Next;
use postrider::domain::service_time::ServiceTime;
use postrider::store::{
    Accepted, Claim, ClaimRequest, ClaimWant, Cursor, Lease, LeaseRef, NewDelivery, NewEvent,
    Pipeline, PipelineChange, Record, Recorded, Store,
};

use super::{START, StoreFactory};
use crate::support::statistics::assert_add_up;

/// How long deliveries are retried.
pub(crate) const WINDOW: Duration = Duration::from_secs(4 * 3_600);
/// How long leases last.
const REQUEST_HEADERS: &str = "content-type: application/json\nuser-agent: Postrider/0.1.0\n\
    x-tenant: north\nwebhook-id: dlv_01a1ff57146970f4800000000000752e\n\
    webhook-timestamp: 1795285259\nx-signature: 1cf3027cc1bd871725469c8411e187d3a4b6092d\n\
    webhook-signature: v1,mkcDaHn9QtE2mQoK/QlOvlG2eQswHRTd0A0pUeso6m8=\n";
pub(crate) const LEASE: Duration = Duration::from_secs(35);

/// A mapping and its destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) mapping_id: MappingId,
    pub(crate) destination_id: DestinationId,
}

/// A store with source `web`, destinations `crm` (mappings `a`, `b`) and `erp` (mapping `c`), and
/// a second source `app` with nothing below it.
pub(crate) struct World {
    factory: Box<dyn StoreFactory>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) node: NodeId,
    pub(crate) web: SourceId,
    pub(crate) app: SourceId,
    pub(crate) a: Target,
    pub(crate) b: Target,
    pub(crate) c: Target,
}

impl World {
    pub(crate) async fn new(factory: impl StoreFactory + 'static) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let store = factory.open(Arc::clone(&clock)).await;
        store
            .change_pipeline(0, changes(), Act::of_the_service("test", START))
            .await
            .expect("a pipeline");
        let node = store.register_node("one", super::START_MOMENT).await.expect("a node");
        let pipeline = store.pipeline().await.expect("the pipeline");
        Self {
            factory: Box::new(factory),
            clock,
            node,
            web: source(&pipeline, "web"),
            app: source(&pipeline, "app"),
            a: target(&pipeline, "a"),
            b: target(&pipeline, "b"),
            c: target(&pipeline, "c"),
            store,
        }
    }

    /// An act of an operator now.
    pub(crate) fn act(&self) -> Act {
        Act {
            actor: "ops".to_owned(),
            role: Some(Role::Admin),
            from: "192.0.2.7".to_owned(),
            request_id: None,
            note: None,
            at: self.now(),
        }
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = self.factory.open(Arc::clone(&self.clock)).await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.clock.moment()
    }

    pub(crate) fn service_now(&self) -> ServiceTime {
        self.clock.service_now()
    }

    /// A track event of the source `web`.
    pub(crate) fn event(&self, message_id: &str) -> Event {
        Event {
            source_id: self.web,
            kind: Some(EventType::Track),
            message_id: message_id.to_owned(),
            received_at: self.now(),
            name: Some("Order Completed".to_owned()),
            user_id: Some("u-1".to_owned()),
            body: Bytes::from(format!("{{\"messageId\":\"{message_id}\"}}")),
            envelope: None,
            rejection: None,
            trace: None,
            document: Document::default(),
        }
    }

    pub(crate) fn pending(&self, target: Target) -> NewDelivery {
        NewDelivery {
            mapping_id: target.mapping_id,
            destination_id: target.destination_id,
            deadline_at: self.service_now() + WINDOW,
            lease: None,
        }
    }

    pub(crate) fn leased(&self, target: Target) -> NewDelivery {
        let lease = Lease { node_id: self.node, expires_at: self.service_now() + LEASE };
        NewDelivery { lease: Some(lease), ..self.pending(target) }
    }

    pub(crate) async fn accept_one(&self, event: Event, deliveries: Vec<NewDelivery>) -> Accepted {
        let new = NewEvent { event: Arc::new(event), deliveries, skips: Vec::new() };
        self.store.accept(vec![new]).await.expect("accepted").swap_remove(0)
    }

    /// Accepts a new event with these deliveries; returns its key and theirs.
    pub(crate) async fn accept_all(
        &self,
        message_id: &str,
        deliveries: Vec<NewDelivery>,
    ) -> (EventId, Vec<DeliveryId>) {
        match self.accept_one(self.event(message_id), deliveries).await {
            Accepted::Stored { event_id, delivery_ids } => {
                (event_id, delivery_ids.iter().collect())
            }
            Accepted::Duplicate => panic!("{message_id} is a duplicate"),
        }
    }

    /// Accepts a new event with these deliveries; returns its key and that of the first, if any.
    pub(crate) async fn accept(
        &self,
        message_id: &str,
        deliveries: Vec<NewDelivery>,
    ) -> (EventId, DeliveryId) {
        let (event_id, ids) = self.accept_all(message_id, deliveries).await;
        (event_id, ids.first().copied().unwrap_or(DeliveryId(0)))
    }

    pub(crate) async fn accept_pending(&self, message_id: &str, target: Target) -> DeliveryId {
        self.accept(message_id, vec![self.pending(target)]).await.1
    }

    pub(crate) async fn accept_leased(&self, message_id: &str, target: Target) -> DeliveryId {
        self.accept(message_id, vec![self.leased(target)]).await.1
    }

    pub(crate) fn want(&self, target: Target, limit: u32) -> ClaimWant {
        ClaimWant {
            mapping_id: target.mapping_id,
            limit,
            lease: LEASE,
            resumed_deadline_at: ServiceTime::default(),
            as_owner: false,
            is_probe: false,
        }
    }

    pub(crate) fn request(&self, wants: Vec<ClaimWant>) -> ClaimRequest {
        ClaimRequest { node_id: self.node, now: self.clock.moment(), wants }
    }

    pub(crate) async fn claim(&self, target: Target, limit: u32) -> Claim {
        let request = self.request(vec![self.want(target, limit)]);
        self.store.claim_due(request).await.expect("a claim")
    }

    pub(crate) fn attempt(&self, outcome: Outcome) -> NewAttempt {
        NewAttempt {
            node_id: self.node,
            revision_id: RevisionId(1),
            started_at: self.now(),
            duration_us: 1_500,
            outcome,
            status: [
                (Outcome::Delivered, 200),
                (Outcome::ServerError, 503),
                (Outcome::Rejected, 410),
            ]
            .into_iter()
            .find_map(|(with, status)| (with == outcome).then_some(status)),
            error: (outcome != Outcome::Delivered).then(|| "it went wrong".to_owned()),
            console: (outcome == Outcome::Dropped).then(|| "log: not for us".to_owned()),
            url: "https://receiver.test/hook".to_owned(),
            request_headers: REQUEST_HEADERS.to_owned(),
            body_sha256: Some([7; 32]),
            response_headers: "server: test\nx-odd: \u{fffd}, a: b\ndate: soon\n".to_owned(),
            response_body: Bytes::from_static(b"\x00ok\xff"),
            response_truncated: true,
            batch: None,
        }
    }

    pub(crate) fn record_of(
        &self,
        delivery_id: DeliveryId,
        token: u32,
        outcome: Outcome,
        next: Next,
    ) -> Record {
        // The store knows the mapping; the caller that made the attempt needs it too.
        let mapping_id = MappingId(1);
        let (attempt, policy) = (self.attempt(outcome), DeliveryPolicy::All);
        Record { delivery_id, mapping_id, token, attempt, next, policy }
    }

    pub(crate) async fn record(&self, record: Record) -> Recorded {
        self.store.record(Arc::new(vec![record])).await.expect("recorded")[0]
    }

    pub(crate) async fn deliver(&self, id: DeliveryId, token: u32) -> Recorded {
        self.record(self.record_of(id, token, Outcome::Delivered, Next::Delivered)).await
    }

    /// Delivers with the policy `any`.
    pub(crate) async fn deliver_for_any(&self, id: DeliveryId, token: u32) -> Recorded {
        let record = self.record_of(id, token, Outcome::Delivered, Next::Delivered);
        self.record(Record { policy: DeliveryPolicy::Any, ..record }).await
    }

    pub(crate) async fn fail(&self, id: DeliveryId, token: u32, wait: Duration) -> Recorded {
        let next = Next::Retry { due_at: self.service_now() + wait };
        self.record(self.record_of(id, token, Outcome::ServerError, next)).await
    }

    pub(crate) async fn kill(&self, id: DeliveryId, token: u32, reason: Reason) -> Recorded {
        let next = Next::Dead { reason };
        self.record(self.record_of(id, token, Outcome::Rejected, next)).await
    }

    /// A new dead letter.
    pub(crate) async fn dead(&self, message_id: &str, target: Target) -> DeliveryId {
        let id = self.accept_leased(message_id, target).await;
        assert_eq!(self.kill(id, 1, Reason::Rejected).await, Recorded::Applied);
        id
    }

    pub(crate) async fn delivery(&self, id: DeliveryId) -> Delivery {
        self.store.delivery(id).await.expect("read").expect("a delivery").delivery
    }

    /// A delivery's position in lists.
    pub(crate) async fn cursor(&self, id: DeliveryId) -> Cursor {
        Cursor { at: self.delivery(id).await.accepted_at, key: id.0 }
    }

    pub(crate) async fn state(&self, id: DeliveryId) -> State {
        self.delivery(id).await.state
    }

    /// Runs each of the engine's own duties once.
    pub(crate) async fn run_engine_duties(&self) {
        for duty in Arc::clone(&self.store).duties() {
            duty.run(self.service_now()).await.expect(duty.name);
        }
    }

    /// Steps the wall clock.
    pub(crate) async fn step_clock(&self, micros: i64) {
        self.clock.step(micros);
        self.store.heartbeat(self.node, self.clock.moment()).await.expect("recorded");
    }

    /// Lets time pass, with the engine's duties once an hour.
    pub(crate) async fn let_hours_pass(&self, hours: u32) {
        for _ in 0..hours {
            self.clock.advance(Duration::from_secs(3_600));
            self.run_engine_duties().await;
        }
    }

    /// The invariant that must hold after every step, and what the store itself says of its rows.
    pub(crate) async fn check(&self) {
        let ledger = self.store.ledger().await.expect("the ledger");
        let sum =
            ledger.pending + ledger.leased + ledger.delivered + ledger.dead + ledger.discarded;
        assert_eq!(ledger.accepted, sum, "{ledger:?}");
        for finding in self.store.check_consistency(self.service_now()).await.expect("examined") {
            assert!(finding.ok || finding.check == "leases", "{finding:?}");
        }
        assert_add_up(&*self.store).await;
    }

    pub(crate) async fn change(&self, changes: Vec<PipelineChange>) -> i64 {
        let version = self.store.pipeline().await.expect("the pipeline").version;
        self.store.change_pipeline(version, changes, self.act()).await.expect("changed")
    }
}

pub(crate) fn lease_of(delivery_id: DeliveryId, token: u32) -> LeaseRef {
    LeaseRef { delivery_id, token }
}

/// A definition that posts to `url`.
pub(crate) fn definition(url: &str) -> MappingDefinition {
    MappingDefinition {
        trigger: String::new(),
        url: serde_json::Value::from(url),
        url_values: UrlValues::default(),
        profile: Profile::default(),
        method: RequestMethod::default(),
        headers: serde_json::Map::new(),
        data: None,
        function: None,
        batching: None,
    }
}

pub(crate) fn put_mapping(destination: &str, mapping: &str, url: &str) -> PipelineChange {
    PipelineChange::PutMapping {
        source: "web".to_owned(),
        destination: destination.to_owned(),
        mapping: mapping.to_owned(),
        enabled: true,
        definition: definition(url),
    }
}

pub(crate) fn put_destination(destination: &str, enabled: bool) -> PipelineChange {
    PipelineChange::PutDestination {
        source: "web".to_owned(),
        destination: destination.to_owned(),
        enabled,
        settings: DestinationSettings::default(),
    }
}

fn changes() -> Vec<PipelineChange> {
    vec![
        PipelineChange::PutSource { source: "web".to_owned(), enabled: true },
        PipelineChange::PutSource { source: "app".to_owned(), enabled: true },
        put_destination("crm", true),
        put_destination("erp", true),
        put_mapping("crm", "a", "https://a.test/"),
        put_mapping("crm", "b", "https://b.test/"),
        put_mapping("erp", "c", "https://c.test/"),
    ]
}

fn source(pipeline: &Pipeline, name: &str) -> SourceId {
    pipeline.sources.iter().find(|source| source.name == name).expect("the source").id
}

fn target(pipeline: &Pipeline, name: &str) -> Target {
    let mapping = pipeline.mappings.iter().find(|mapping| mapping.name == name).expect("mapping");
    Target { mapping_id: mapping.id, destination_id: mapping.destination_id }
}
