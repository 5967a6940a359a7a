//! The dispatcher: takes leased deliveries straight from intake or claims due ones, sends each through
//! its destination's gate, records what came of it, and expires leases without an outcome. It keeps
//! no state that the store could not give back: what is in memory here is leased or can be claimed.

mod batch;
mod circuit_breaker;
mod claimer;
mod clock_shift;
mod completer;
mod executor;
mod lease_reaper;
mod limiter;
mod memory_budget;
mod multistatus;
mod outcome;
mod queue;
mod renderer;
mod send;
mod siblings;
mod statistics;
mod status;
mod test_send;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderValue;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{DestinationId, MappingId, NodeId};
use crate::functions::FunctionPool;
use crate::outbound_auth::Authorizer;
use crate::routing::LiveRoutes;
use crate::sender::Sender;
use crate::store::{LeaseRef, LeasedDelivery, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Tracer;

pub use test_send::{TestRequest, TestResult};

use clock_shift::Schedule;
use completer::Records;
use limiter::{Gate, Turn};
use memory_budget::{Held, Share};
use queue::{Load, lease_of};
use siblings::Successes;
use statistics::Minutes;
use status::Closing;

/// Waiting deliveries go back to the store so long before their lease ends. Longer than it takes from
/// one look to the next, and than a commit takes.
const GIVE_BACK_AHEAD: Duration = Duration::from_secs(15);
/// A destination may have this many requests under way however busy the others are.
const GUARANTEED_IN_FLIGHT: u32 = 2;

/// What the dispatcher works with.
pub struct DispatcherParts {
    /// Where deliveries live.
    pub store: Arc<dyn Store>,
    /// What sends them.
    pub sender: Arc<Sender>,
    /// What insert functions run in.
    pub functions: Arc<FunctionPool>,
    /// What authorizes them.
    pub auth: Authorizer,
    /// What is set up.
    pub routes: LiveRoutes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Who leases.
    pub node_id: NodeId,
    /// What attempts are told to as spans, where somebody gathers them.
    pub spans: Option<Tracer>,
    /// Requests under way at once over all destinations.
    pub max_in_flight: u32,
    /// `User-Agent` where the mapping sets none.
    pub user_agent: HeaderValue,
    /// Seeds the jitter of retries.
    pub seed: u64,
    /// What deliveries run on.
    pub deliver_on: Handle,
}

/// The dispatcher; cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    parts: DispatcherParts,
    gates: RwLock<Gates>,
    held: Held,
    in_flight: AtomicU32,
    starved: Mutex<VecDeque<Arc<Gate>>>,
    claim_wanted: Notify,
    records: Records,
    recorded: watch::Sender<u64>,
    rng: Mutex<StdRng>,
    minutes: Minutes,
    successes: Successes,
    closing: Closing,
    /// The sum of all jumps of the clock: what a delivery in hand adds to its times.
    shifted: AtomicI64,
    schedule: Schedule,
    stopping: CancellationToken,
    attempts_under_way: TaskTracker,
    loops: TaskTracker,
}

#[derive(Default)]
struct Gates {
    by_destination: HashMap<DestinationId, Arc<Gate>>,
    by_mapping: HashMap<MappingId, Arc<Gate>>,
}

impl Dispatcher {
    /// Starts the dispatcher's loops.
    #[must_use]
    pub fn start(parts: DispatcherParts) -> Self {
        let (records, queue) = Records::new();
        let rng = Mutex::new(StdRng::seed_from_u64(parts.seed));
        let shared = Arc::new(Shared {
            parts,
            gates: RwLock::default(),
            held: Held::default(),
            in_flight: AtomicU32::new(0),
            starved: Mutex::default(),
            claim_wanted: Notify::new(),
            records,
            recorded: watch::Sender::new(0),
            rng,
            minutes: Minutes::default(),
            successes: Successes::default(),
            closing: Closing::default(),
            shifted: AtomicI64::new(0),
            schedule: Schedule::default(),
            stopping: CancellationToken::new(),
            attempts_under_way: TaskTracker::new(),
            loops: TaskTracker::new(),
        });
        let dispatcher = Self { shared };
        dispatcher.reload();
        let shared = &dispatcher.shared;
        let deliver_on = &shared.parts.deliver_on;
        shared.loops.spawn_on(completer::run(Arc::clone(shared), queue), deliver_on);
        shared.loops.spawn_on(claimer::run(Arc::clone(shared)), deliver_on);
        dispatcher
    }

    /// The node that leases.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.parts.node_id
    }

    /// Takes over what is set up now; to be called after the routes were swapped.
    pub fn reload(&self) {
        self.shared.reload();
    }

    /// Room for up to `count` more deliveries of this mapping; what is not handed over is to be
    /// given back. None while its circuit is open, it is disabled, or the process stops.
    #[must_use]
    pub fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        if self.shared.stopping.is_cancelled() {
            return 0;
        }
        self.shared.gate(mapping_id).map_or(0, |gate| gate.reserve(mapping_id, count))
    }

    /// Gives back room that was not used.
    pub fn release(&self, mapping_id: MappingId, count: u32) {
        if let Some(gate) = self.shared.gate(mapping_id) {
            gate.give_back(mapping_id, count);
        }
    }

    /// Takes deliveries that were committed as leased to this node, into the room reserved for them.
    pub fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        let accepted_at = self.shared.parts.clock.now();
        for delivery in &deliveries {
            self.shared.minutes.accepted(delivery.mapping_id, accepted_at);
        }
        self.shared.take(deliveries, true);
    }

    /// Deliveries of these mappings, one each, were committed as pending and are due.
    pub fn notify_due(&self, mappings: &[MappingId]) {
        let now = self.shared.parts.clock.now();
        for mapping_id in mappings {
            self.shared.minutes.accepted(*mapping_id, now);
            self.shared.note_due(*mapping_id, now);
        }
        self.shared.claim_wanted.notify_one();
    }

    /// Deliveries of these mappings were made due by an operator.
    pub fn notify_redriven(&self, mappings: &[MappingId]) {
        let now = self.shared.parts.clock.now();
        for mapping_id in mappings {
            self.shared.note_due(*mapping_id, now);
        }
        self.shared.claim_wanted.notify_one();
    }

    /// Something may be due that this dispatcher was not told of: asks the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.shared.refresh().await
    }

    /// Records every lease that ended without an outcome as an `unknown` attempt.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn expire_leases(&self) -> Result<u64, StoreError> {
        let Some(_schedule) = self.shared.schedule.go_by().await else { return Ok(0) };
        let now = self.shared.parts.clock.now();
        // What only waits has not been tried: it goes back before its lease ends.
        let until = now + GIVE_BACK_AHEAD;
        let gates: Vec<_> = self.shared.gates().by_destination.values().cloned().collect();
        let waiting: Vec<_> = gates.iter().flat_map(|gate| gate.give_up_expiring(until)).collect();
        if !waiting.is_empty() {
            self.shared.release(waiting).await;
            self.shared.refresh().await?;
        }
        lease_reaper::run(&self.shared, crate::store::ExpiryScope::Until(now)).await
    }

    /// The same for the leases of processes that ran before this one on the same SQLite file.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn expire_other_nodes(&self) -> Result<u64, StoreError> {
        let node_id = self.shared.parts.node_id;
        lease_reaper::run(&self.shared, crate::store::ExpiryScope::OtherThan(node_id)).await
    }

    /// Makes dead letters of what was tried in vain until its deadline; such deliveries wait unclaimed
    /// where a circuit is open.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settle_overdue(&self) -> Result<u64, StoreError> {
        let Some(_schedule) = self.shared.schedule.go_by().await else { return Ok(0) };
        claimer::settle_overdue(&self.shared).await
    }

    /// Stops: claims nothing more, gives back what only waits, lets attempts under way end within
    /// `grace`, and records them. What is not done by then stays leased and expires.
    pub async fn stop(&self, grace: Duration) {
        let shared = &self.shared;
        shared.stopping.cancel();
        let gates: Vec<_> = shared.gates().by_destination.values().cloned().collect();
        let waiting: Vec<_> = gates.iter().flat_map(|gate| gate.give_up_all()).collect();
        shared.release(waiting).await;
        shared.attempts_under_way.close();
        if tokio::time::timeout(grace, shared.attempts_under_way.wait()).await.is_err() {
            let left = shared.attempts_under_way.len();
            tracing::warn!(left, "attempts did not end in time; their leases will expire");
        }
        shared.loops.close();
        if tokio::time::timeout(grace, shared.loops.wait()).await.is_err() {
            tracing::error!("attempts could not be recorded in time; their leases will expire");
        }
    }
}

impl Shared {
    fn gates(&self) -> std::sync::RwLockReadGuard<'_, Gates> {
        self.gates.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, mapping_id: MappingId) -> Option<Arc<Gate>> {
        self.gates().by_mapping.get(&mapping_id).map(Arc::clone)
    }

    fn reload(self: &Arc<Self>) {
        let routes = self.parts.routes.current();
        let mut enabled: HashMap<DestinationId, Vec<_>> = HashMap::new();
        let mut settings = HashMap::new();
        for mapping in routes.mappings() {
            settings.entry(mapping.destination_id).or_insert_with(|| mapping.settings.clone());
            let of_destination = enabled.entry(mapping.destination_id).or_default();
            if mapping.delivers() {
                of_destination.push((mapping.id, mapping.batching));
            }
        }
        let mut given_up = Vec::new();
        {
            let mut gates = self.gates.write().unwrap_or_else(PoisonError::into_inner);
            for (destination_id, settings) in &settings {
                let gate = gates.by_destination.entry(*destination_id);
                let gate =
                    Arc::clone(gate.or_insert_with(|| Arc::new(Gate::new(self.held.clone()))));
                let mappings = &enabled[destination_id];
                given_up.append(&mut gate.set_up(settings, mappings));
                for (mapping_id, _) in mappings {
                    gates.by_mapping.insert(*mapping_id, Arc::clone(&gate));
                }
            }
            let kept: HashSet<_> = settings.keys().copied().collect();
            for (destination_id, gate) in &gates.by_destination {
                if !kept.contains(destination_id) {
                    given_up.append(&mut gate.set_up(&Default::default(), &[]));
                }
            }
        }
        self.release_later(given_up);
        let shared = Arc::clone(self);
        self.loops.spawn(async move {
            if let Err(error) = shared.refresh().await {
                tracing::error!(%error, "due times could not be read; the next look will");
            }
        });
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let mappings: Vec<_> = {
            let routes = self.parts.routes.current();
            routes.mappings().filter(|it| it.delivers()).map(|it| it.id).collect()
        };
        for (mapping_id, due_at) in self.parts.store.next_due(&mappings).await? {
            self.note_due(mapping_id, due_at);
        }
        self.claim_wanted.notify_one();
        Ok(())
    }

    fn note_due(&self, mapping_id: MappingId, due_at: Timestamp) {
        if let Some(gate) = self.gate(mapping_id) {
            gate.note_due(mapping_id, due_at);
        }
    }

    /// Queues leased deliveries at their gates and starts what may start.
    fn take(self: &Arc<Self>, deliveries: Vec<LeasedDelivery>, reserved: bool) {
        let now = self.parts.clock.now();
        let mut refused = Vec::new();
        let mut touched: Vec<Arc<Gate>> = Vec::new();
        for delivery in deliveries {
            let Some(gate) = self.gate(delivery.mapping_id) else {
                refused.push(lease_of(&delivery));
                continue;
            };
            refused.extend(gate.push(delivery, reserved, now));
            if !touched.iter().any(|it| Arc::ptr_eq(it, &gate)) {
                touched.push(gate);
            }
        }
        self.release_later(refused);
        for gate in touched {
            self.pump(&gate);
        }
    }

    /// Starts a request for everything the gate lets through now.
    fn pump(self: &Arc<Self>, gate: &Arc<Gate>) {
        while let Some(first) = self.next(gate) {
            let work = executor::run(Arc::clone(self), Arc::clone(gate), first);
            self.attempts_under_way.spawn_on(work, &self.parts.deliver_on);
        }
    }

    /// The gate's next load, if the limit over all destinations allows it too.
    fn next(self: &Arc<Self>, gate: &Arc<Gate>) -> Option<(MappingId, Load, Share)> {
        if self.in_flight.load(Ordering::Relaxed) >= self.parts.max_in_flight
            && gate.in_flight() >= GUARANTEED_IN_FLIGHT
        {
            let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
            if !starved.iter().any(|it| Arc::ptr_eq(it, gate)) {
                starved.push_back(Arc::clone(gate));
            }
            return None;
        }
        match gate.next(self.parts.clock.now()) {
            Turn::Start { mapping_id, load, share, wants_more } => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                if wants_more {
                    self.claim_wanted.notify_one();
                }
                Some((mapping_id, load, share))
            }
            Turn::NotBefore(at) => {
                self.pump_at(gate, at);
                None
            }
            Turn::Nothing => None,
        }
    }

    fn pump_at(self: &Arc<Self>, gate: &Arc<Gate>, at: Timestamp) {
        let (shared, gate) = (Arc::clone(self), Arc::clone(gate));
        self.loops.spawn(async move {
            tokio::select! {
                () = shared.parts.clock.sleep_until(at) => {
                    gate.woken();
                    shared.pump(&gate);
                }
                () = shared.stopping.cancelled() => {}
            }
        });
    }

    /// A place over all destinations is free: the longest starved gate may use it.
    fn feed_starved(self: &Arc<Self>) {
        let starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(gate) = starved {
            self.pump(&gate);
        }
    }

    async fn release(&self, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let count = leases.len();
        if let Err(error) = self.parts.store.release(leases, self.parts.clock.now()).await {
            tracing::error!(%error, count, "leases could not be given back; they will expire");
        }
    }

    /// Gives leases back without waiting for it; their deliveries are due again at once.
    fn release_later(self: &Arc<Self>, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        self.loops.spawn(async move {
            shared.release(leases).await;
            if let Err(error) = shared.refresh().await {
                tracing::error!(%error, "due times could not be read; the next look will");
            }
        });
    }
}
