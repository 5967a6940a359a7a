//! The context that the parts of the delivery room share: what the dispatcher was given, the limiters,
//! the queue of completions, counters, and signals. It releases leases and reads due times; it starts no
//! request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use http::HeaderValue;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::completion_queue::CompletionSender;
use super::expiring_windows::ExpiringWindows;
use super::leases_in_hand::LeasesInHand;
use super::limiter::Limiter;
use super::memory_budget::MemoryBudget;
use super::pacing::{MAX_WAIT, QueueSettings, Receiver};
use super::siblings::UnrecordedSuccesses;
use super::unshared_changes::UnsharedChanges;
use super::worker_queue::WorkerQueue;
use crate::domain::clock::Clock;
use crate::domain::id::{DestinationId, MappingId, NodeId};
use crate::domain::service_time::ServiceTime;
use crate::functions::FunctionPool;
use crate::outbound_auth::Authorizer;
use crate::routing::{LiveRoutes, MappingRoute, Routes};
use crate::sender::Sender;
use crate::store::{DeliveryQueue, LeaseRef, StoreError};
use crate::telemetry::log_rate::LogRate;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Tracer;

/// How long deliveries are postponed for which this machine lacked a resource.
const POSTPONEMENT: Duration = Duration::from_secs(1);

/// What the dispatcher is made of.
pub struct DispatcherParts {
    /// The outbox.
    pub store: Arc<dyn DeliveryQueue>,
    /// The HTTP client.
    pub sender: Arc<Sender>,
    /// The workers that run insert functions.
    pub functions: Arc<FunctionPool>,
    /// The tokens that authorize requests.
    pub auth: Authorizer,
    /// The routes in force.
    pub routes: LiveRoutes,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Limits log lines about what this machine lacks.
    pub log_rate: Arc<LogRate>,
    /// The node that owns the leases.
    pub node_id: NodeId,
    /// Starts and exports spans; none without a collector.
    pub spans: Option<Tracer>,
    /// Requests in flight at once over all destinations.
    pub max_in_flight: u32,
    /// `User-Agent` where the mapping sets none.
    pub user_agent: HeaderValue,
    /// Seeds the jitter of retries.
    pub seed: u64,
    /// The runtime that deliveries run on.
    pub deliver_on: Handle,
}

pub(super) struct Context {
    pub(super) parts: DispatcherParts,
    limiters: RwLock<Limiters>,
    pub(super) budget: MemoryBudget,
    /// The limiter that the next claim begins with.
    pub(super) claim_from: AtomicUsize,
    /// Requests in flight over all destinations.
    pub(super) in_flight: AtomicU32,
    /// Limiters that wait for a slot below the limit over all destinations or for room for a record, oldest
    /// first.
    pub(super) waiting: Mutex<VecDeque<Arc<Limiter>>>,
    /// Limiters that wait for a function worker.
    pub(super) worker_queue: WorkerQueue,
    pub(super) in_hand: LeasesInHand,
    /// Wakes the claimer.
    pub(super) claim_wanted: Notify,
    /// The stored pipeline has changed: its routes are to be loaded.
    pub(super) pipeline_changed: Notify,
    /// Changes that other nodes do not know yet.
    pub(super) unshared: UnsharedChanges,
    pub(super) completions: CompletionSender,
    /// Counts commits of attempts.
    pub(super) recorded: watch::Sender<u64>,
    rng: Mutex<StdRng>,
    pub(super) successes: UnrecordedSuccesses,
    pub(super) expiring_windows: ExpiringWindows,
    pub(super) stopping: CancellationToken,
    /// Requests in flight.
    pub(super) requests: TaskTracker,
    /// Background tasks: claimer, completer, timers, releases.
    pub(super) tasks: TaskTracker,
}

#[derive(Default)]
struct Limiters {
    by_destination: HashMap<DestinationId, Arc<Limiter>>,
    by_mapping: HashMap<MappingId, Arc<Limiter>>,
}

impl Context {
    pub(super) fn new(parts: DispatcherParts, completions: CompletionSender) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(parts.seed));
        Self {
            parts,
            limiters: RwLock::default(),
            budget: MemoryBudget::default(),
            claim_from: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            waiting: Mutex::default(),
            worker_queue: WorkerQueue::default(),
            in_hand: LeasesInHand::default(),
            claim_wanted: Notify::new(),
            pipeline_changed: Notify::new(),
            unshared: UnsharedChanges::default(),
            completions,
            recorded: watch::Sender::new(0),
            rng,
            successes: UnrecordedSuccesses::default(),
            expiring_windows: ExpiringWindows::default(),
            stopping: CancellationToken::new(),
            requests: TaskTracker::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn read_limiters(&self) -> RwLockReadGuard<'_, Limiters> {
        self.limiters.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limiter of every destination.
    pub(super) fn limiters(&self) -> Vec<Arc<Limiter>> {
        self.read_limiters().by_destination.values().cloned().collect()
    }

    /// The limiter of this mapping's destination.
    pub(super) fn limiter(&self, mapping_id: MappingId) -> Option<Arc<Limiter>> {
        self.read_limiters().by_mapping.get(&mapping_id).map(Arc::clone)
    }

    /// Configures the limiters by the routes in force, releases what was queued for mappings that are no
    /// longer enabled, and reads due times.
    pub(super) fn reload(self: &Arc<Self>) {
        let routes = self.parts.routes.current();
        let mut enabled: HashMap<DestinationId, Vec<_>> = HashMap::new();
        let mut settings = HashMap::new();
        let now = self.parts.clock.service_now();
        let mut with_function: HashMap<DestinationId, Vec<MappingId>> = HashMap::new();
        for mapping in routes.mappings() {
            settings
                .entry(mapping.destination_id)
                .or_insert_with(|| (mapping.settings.clone(), mapping.destination_drain));
            let of_destination = enabled.entry(mapping.destination_id).or_default();
            if mapping.delivers() {
                of_destination.push(queue_settings(mapping, now));
            }
            if mapping.function.is_some() {
                with_function.entry(mapping.destination_id).or_default().push(mapping.id);
            }
        }
        let attempts = self.shared_attempts(&routes);
        let mut drained = Vec::new();
        {
            let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
            for (destination_id, (settings, drain)) in &settings {
                let limiter = limiters.by_destination.entry(*destination_id);
                let limiter = limiter.or_insert_with(|| {
                    let seed = self.rng().random();
                    Arc::new(Limiter::new(*destination_id, self.budget.clone(), seed))
                });
                let limiter = Arc::clone(limiter);
                let mappings = &enabled[destination_id];
                drained.append(&mut limiter.configure(settings, *drain, mappings));
                drained.append(&mut limiter.share_limits(attempts.get(destination_id).copied()));
                let with_function = with_function.remove(destination_id).unwrap_or_default();
                limiter.configure_functions(&with_function, &self.parts.functions);
                for it in mappings {
                    limiters.by_mapping.insert(it.mapping_id, Arc::clone(&limiter));
                }
            }
            let kept: HashSet<_> = settings.keys().copied().collect();
            for (destination_id, limiter) in &limiters.by_destination {
                if !kept.contains(destination_id) {
                    drained.append(&mut limiter.configure(&Default::default(), None, &[]));
                    limiter.share_limits(None);
                }
            }
        }
        self.release_in_background(drained);
        let context = Arc::clone(self);
        self.tasks.spawn(async move { context.refresh_or_log().await });
    }

    /// Whether this node may start requests of a mapping: another may own its destination.
    pub(super) fn may_start(&self, mapping_id: MappingId) -> bool {
        if !self.shares() {
            return true;
        }
        let clock = &self.parts.clock;
        self.limiter(mapping_id).is_none_or(|it| it.right.lasts(|| clock.uptime()))
    }

    /// Whether other nodes may use the database.
    pub(super) fn shares(&self) -> bool {
        self.parts.store.is_shared()
    }

    /// For each destination whose limits hold over all nodes, the most that a request takes. A drain is a limit.
    fn shared_attempts(&self, routes: &Routes) -> HashMap<DestinationId, Duration> {
        let mut attempts = HashMap::new();
        if !self.shares() {
            return attempts;
        }
        let mut limited = HashSet::new();
        for mapping in routes.mappings() {
            if mapping.settings.is_limited()
                || mapping.drain.is_some()
                || mapping.destination_drain.is_some()
            {
                limited.insert(mapping.destination_id);
            }
            // A token may be requested before the request and again after a 401.
            let renewal = mapping.settings.auth.client().map(|_| Authorizer::MAX_TIMEOUT);
            let attempt = self.attempt_time(mapping) + renewal.unwrap_or_default();
            let longest = attempts.entry(mapping.destination_id).or_insert(attempt);
            *longest = attempt.max(*longest);
        }
        attempts.retain(|id, _| limited.contains(id));
        attempts
    }

    /// Reads the earliest due time of every mapping that delivers, and wakes the claimer.
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<(), StoreError> {
        let mappings: Vec<_> = {
            let routes = self.parts.routes.current();
            routes.mappings().filter(|it| it.delivers()).map(|it| it.id).collect()
        };
        let found: HashMap<_, _> =
            self.parts.store.next_due(&mappings).await?.into_iter().collect();
        for (mapping_id, due_at) in &found {
            self.note_due(*mapping_id, *due_at);
        }
        self.note_next_due(&mappings, &found);
        self.claim_wanted.notify_one();
        Ok(())
    }

    async fn refresh_or_log(self: &Arc<Self>) {
        if let Err(error) = self.refresh().await {
            tracing::error!(%error, "due times could not be read; the next refresh reads them");
        }
    }

    /// Notes that a delivery of this mapping is due at this time.
    pub(super) fn note_due(&self, mapping_id: MappingId, due_at: ServiceTime) {
        if let Some(limiter) = self.limiter(mapping_id) {
            limiter.note_due(mapping_id, due_at);
        }
    }

    /// Notes when the next delivery of each of these mappings is due, and stores which drains have ended.
    pub(super) fn note_next_due(
        self: &Arc<Self>,
        mappings: &[MappingId],
        found: &HashMap<MappingId, ServiceTime>,
    ) {
        for mapping_id in mappings {
            let Some(limiter) = self.limiter(*mapping_id) else { continue };
            limiter.note_next_due(*mapping_id, found.get(mapping_id).copied());
            self.store_ended_drains(&limiter);
        }
    }

    /// Releases leases; their deliveries are pending and due at once.
    pub(super) async fn release(&self, leases: Vec<LeaseRef>) {
        self.release_until(leases, self.parts.clock.service_now()).await;
    }

    /// Releases leases; their deliveries are pending until `due_at`.
    async fn release_until(&self, leases: Vec<LeaseRef>, due_at: ServiceTime) {
        if leases.is_empty() {
            return;
        }
        let count = leases.len();
        if let Err(error) = self.parts.store.release(leases, due_at).await {
            tracing::error!(%error, count, "leases could not be released; they will expire");
        }
    }

    /// Releases leases in a background task, then reads due times.
    pub(super) fn release_in_background(self: &Arc<Self>, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let context = Arc::clone(self);
        self.tasks.spawn(async move {
            context.release(leases).await;
            context.refresh_or_log().await;
        });
    }

    /// Releases leases of deliveries that cannot be attempted now for lack of a local resource.
    pub(super) fn postpone_in_background(self: &Arc<Self>, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let context = Arc::clone(self);
        self.tasks.spawn(async move {
            let due_at = context.parts.clock.service_now() + POSTPONEMENT;
            context.release_until(leases, due_at).await;
            context.refresh_or_log().await;
        });
    }

    pub(super) fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jitter of a backoff, uniform in `[0, 1)`.
    pub(super) fn jitter(&self) -> f64 {
        self.rng().random()
    }

    /// A span id, never all zeros.
    pub(super) fn span_id(&self) -> [u8; 8] {
        self.rng().random_range(1..=u64::MAX).to_be_bytes()
    }
}

/// A mapping that delivers, as its limiter needs it.
fn queue_settings(route: &MappingRoute, now: ServiceTime) -> QueueSettings {
    let origin = match route.compiled().literal_origins() {
        Some([origin]) => Some(origin.origin().ascii_serialization()),
        Some(_) | None => None,
    };
    QueueSettings {
        mapping_id: route.id,
        batching: route.batching,
        receiver: origin
            .map_or(Receiver::Mapping(route.id), |origin| Receiver::Origin(origin.into())),
        drain: route.drain,
        wait_until: route.wait_until.filter(|until| *until > now).map(|it| it.min(now + MAX_WAIT)),
    }
}
