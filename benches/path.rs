//! Microbenchmarks of the stages of an event: parse, match, render, print, sign; commit, claim and record in
//! a store on disk, in write batches as under load. `cargo bench --bench path`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use postrider::domain::attempt::{NewAttempt, Outcome};
use postrider::domain::auth::Act;
use postrider::domain::clock::{Clock, ManualClock, Moment, Timestamp};
use postrider::domain::destination::{DeliveryPolicy, DestinationSettings};
use postrider::domain::event::{Document, Event, EventType};
use postrider::domain::id::{DeliveryId, DestinationId, MappingId, NodeId, RevisionId, SourceId};
use postrider::domain::mapping::MappingDefinition;
use postrider::domain::retry::Next;
use postrider::domain::service_time::ServiceTime;
use postrider::json;
use postrider::mapping::CompiledMapping;
use postrider::sender::{SignedContent, Signer};
use postrider::store::sqlite::{OpenOptions, SqliteStore};
use postrider::store::{
    Accepted, ClaimRequest, ClaimWant, Lease, NewDelivery, NewEvent, PipelineChange, Record, Store,
};
use postrider::telemetry::metrics::Metrics;
use postrider::trigger::Trigger;
use serde_json::json;

const START: Timestamp = Timestamp::from_micros(1_780_000_000_000_000);
/// Events of a commit: the write batch under 64 requests in flight.
const GROUP: u32 = 64;
const LEASE: Duration = Duration::from_secs(35);
const WINDOW: Duration = Duration::from_secs(4 * 3_600);
const REQUEST_HEADERS: &str = "content-type: application/json\nuser-agent: Postrider/0.1.0\n\
    webhook-id: dlv_01a1ff57146970f4800000000000752e\nwebhook-timestamp: 1795285259\n\
    x-signature: 1cf3027cc1bd871725469c8411e187d3a4b6092d\n\
    webhook-signature: v1,mkcDaHn9QtE2mQoK/QlOvlG2eQswHRTd0A0pUeso6m8=\n";
const RESPONSE_HEADERS: &str = "content-length: 2\ndate: Sat, 21 Nov 2026 18:20:59 GMT\n";
const TRIGGER: &str = r#"type = "track" and event = "Order Completed" and properties.total > 10"#;

/// A message of 1 KB.
fn message(number: u64) -> Bytes {
    let items: Vec<_> = (0..6)
        .map(|item| json!({"sku": format!("SKU-{item}"), "name": "A thing", "price": 19.95, "quantity": item}))
        .collect();
    let mut message = json!({
        "type": "track",
        "event": "Order Completed",
        "userId": "user-4711",
        "messageId": format!("message-{number:020}"),
        "timestamp": "2026-01-02T03:04:05.678Z",
        "context": {"ip": "192.0.2.1", "library": {"name": "analytics-node", "version": "2.2.0"}},
        "properties": {"total": 119.7, "currency": "EUR", "items": items},
    });
    let missing = 1_024_usize.saturating_sub(message.to_string().len() + 13);
    message["padding"] = "x".repeat(missing).into();
    Bytes::from(message.to_string())
}

fn event(number: u64, source_id: SourceId) -> Event {
    Event {
        source_id,
        kind: Some(EventType::Track),
        message_id: format!("message-{number:020}"),
        received_at: START,
        name: Some("Order Completed".to_owned()),
        user_id: Some("user-4711".to_owned()),
        body: message(number),
        envelope: None,
        rejection: None,
        trace: None,
        document: Document::default(),
    }
}

fn definition(data: Option<serde_json::Value>) -> MappingDefinition {
    let definition =
        json!({ "trigger": TRIGGER, "url": "https://receiver.test/hook", "data": data });
    serde_json::from_value(definition).expect("a definition")
}

/// Stages without a store.
fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    let body = message(0);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("parse", |bench| {
        bench.iter(|| json::parse(&body).expect("JSON"));
    });
    let value = json::parse(&body).expect("JSON");
    group.bench_function("print", |bench| bench.iter(|| json::to_string(&value)));
    group.bench_function("document", |bench| {
        bench.iter_batched_ref(
            || event(0, SourceId(1)),
            |event| event.document().expect("a document").len(),
            criterion::BatchSize::SmallInput,
        );
    });
    let trigger = Trigger::parse(TRIGGER).expect("a trigger");
    group.bench_function("trigger", |bench| {
        bench.iter(|| assert!(trigger.matches(&value), "the trigger matches"));
    });
    let event = event(0, SourceId(1));
    let document = event.document().expect("a document");
    let data = json!({
        "id": {"@path": "$.messageId"},
        "total": {"@path": "$.properties.total"},
        "text": {"@template": "{{event}} of {{userId}}"},
        "items": {"@path": "$.properties.items"},
    });
    for (name, data) in [("render, whole", None), ("render, directives", Some(data))] {
        let mapping = CompiledMapping::compile(&definition(data)).expect("a mapping");
        group.bench_function(name, |bench| {
            bench.iter(|| mapping.render(document).expect("rendered"));
        });
    }
    let signer = Signer::new(&["a-shared-secret".into()]);
    group.bench_function("sign", |bench| {
        bench.iter(|| {
            let mut headers = HeaderMap::new();
            let (webhook_id, timestamp_s) = ("dlv_01k6x5zq4s9vw1", 1_780_000_000);
            signer.sign(
                &mut headers,
                &SignedContent { webhook_id, timestamp_s, body: &body, first_event: Some(&body) },
            );
            headers
        });
    });
    group.finish();
}

/// The measured stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timed {
    Commit,
    Claim,
    Record,
}

/// A store in a file, with one mapping.
struct World {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    node_id: NodeId,
    source_id: SourceId,
    mapping_id: MappingId,
    destination_id: DestinationId,
    sent: u64,
}

impl World {
    async fn open(path: &std::path::Path) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let options = OpenOptions::new(path, Arc::new(Metrics::new()), Arc::clone(&clock) as _);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.expect("a store"));
        let [source, destination, mapping] = ["web", "crm", "all"].map(str::to_owned);
        let changes = vec![
            PipelineChange::PutSource { source: source.clone(), enabled: true },
            PipelineChange::PutDestination {
                source: source.clone(),
                destination: destination.clone(),
                enabled: true,
                settings: DestinationSettings::default(),
            },
            PipelineChange::PutMapping {
                source,
                destination,
                mapping,
                enabled: true,
                definition: definition(None),
            },
        ];
        let act = Act::of_the_service("bench", START);
        store.change_pipeline(0, changes, act).await.expect("a pipeline");
        let pipeline = store.pipeline().await.expect("the pipeline");
        let node_id = store.register_node("one", clock.moment()).await.expect("a node");
        Self {
            clock,
            node_id,
            source_id: pipeline.sources[0].id,
            mapping_id: pipeline.mappings[0].id,
            destination_id: pipeline.mappings[0].destination_id,
            store,
            sent: 0,
        }
    }

    /// Takes a batch of events through all stages; the duration of the measured one.
    async fn group(&mut self, timed: Timed) -> Duration {
        let now = self.clock.moment();
        let claimed = timed == Timed::Claim;
        let lease =
            (!claimed).then(|| Lease { node_id: self.node_id, expires_at: now.service + LEASE });
        let delivery = NewDelivery {
            mapping_id: self.mapping_id,
            destination_id: self.destination_id,
            deadline_at: now.service + WINDOW,
            lease,
        };
        let mut events = Vec::new();
        for _ in 0..GROUP {
            self.sent += 1;
            let event = Arc::new(event(self.sent, self.source_id));
            let deliveries = vec![delivery];
            events.push(NewEvent { event, deliveries, skips: Vec::new() });
        }
        let began = Instant::now();
        let accepted = self.store.accept(events).await.expect("accepted");
        let commit = began.elapsed();
        let mut ids: Vec<_> = accepted.iter().map(first).collect();
        let began = Instant::now();
        if claimed {
            ids = self.claim(now).await;
        }
        let claim = began.elapsed();
        let records = ids.into_iter().map(|id| self.delivered(id, now.wall)).collect();
        let began = Instant::now();
        self.store.record(Arc::new(records)).await.expect("recorded");
        match timed {
            Timed::Commit => commit,
            Timed::Claim => claim,
            Timed::Record => began.elapsed(),
        }
    }

    async fn claim(&self, now: Moment) -> Vec<DeliveryId> {
        let want = ClaimWant {
            mapping_id: self.mapping_id,
            limit: GROUP,
            lease: LEASE,
            resumed_deadline_at: ServiceTime::default(),
            as_owner: false,
            is_probe: false,
        };
        let request = ClaimRequest { node_id: self.node_id, now, wants: vec![want] };
        let claim = self.store.claim_due(request).await.expect("a claim");
        assert_eq!(claim.deliveries.len(), GROUP as usize);
        claim.deliveries.iter().map(|it| it.id).collect()
    }

    fn delivered(&self, delivery_id: DeliveryId, now: Timestamp) -> Record {
        let attempt = NewAttempt {
            node_id: self.node_id,
            revision_id: RevisionId(1),
            started_at: now,
            duration_us: 1_500,
            outcome: Outcome::Delivered,
            status: Some(200),
            error: None,
            console: None,
            url: "https://receiver.test/hook".to_owned(),
            request_headers: REQUEST_HEADERS.to_owned(),
            body_sha256: Some([7; 32]),
            response_headers: RESPONSE_HEADERS.to_owned(),
            response_body: Bytes::from_static(b"ok"),
            response_truncated: false,
            batch: None,
        };
        let (mapping_id, next, policy) = (self.mapping_id, Next::Delivered, DeliveryPolicy::All);
        Record { delivery_id, mapping_id, token: 1, attempt, next, policy }
    }
}

fn first(accepted: &Accepted) -> DeliveryId {
    match accepted {
        Accepted::Stored { delivery_ids, .. } => delivery_ids.iter().next().expect("one delivery"),
        Accepted::Duplicate => unreachable!("every message has its own id"),
    }
}

/// Stages that commit, per write batch.
fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("postrider.db");
    let mut world = runtime.block_on(World::open(&path));
    let mut group = criterion.benchmark_group("store, in groups of 64");
    group.throughput(Throughput::Elements(u64::from(GROUP)));
    for (name, timed) in
        [("commit", Timed::Commit), ("claim", Timed::Claim), ("record", Timed::Record)]
    {
        group.bench_function(name, |bench| {
            bench.iter_custom(|times| {
                runtime.block_on(async {
                    let mut sum = Duration::ZERO;
                    for _ in 0..times {
                        sum += world.group(timed).await;
                    }
                    sum
                })
            });
        });
    }
    group.finish();
    runtime.block_on(world.store.close());
}

criterion_group!(benches, steps, commits);
criterion_main!(benches);
