//! The dispatcher: the delivery room's API. Intake reserves slots and dispatches leased deliveries;
//! scheduled jobs expire leases and refresh due times; the server starts and stops it.

use std::sync::Arc;
use std::time::Duration;

use super::completion_queue::completion_queue;
use super::context::{Context, DispatcherParts};
use super::vital_tasks::VitalTasks;
use super::{claimer, completer, lease_reaper, scheduler, sharing};
use crate::domain::delivery::Reason;
use crate::domain::id::{MappingId, NodeId};
use crate::store::{LeasedDelivery, StoreError};

/// Prefetched deliveries are released this long before their lease expires: longer than the interval
/// of lease expiry and the time of a commit.
const RELEASE_BEFORE_EXPIRY: Duration = Duration::from_secs(15);

/// The dispatcher; cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    pub(super) context: Arc<Context>,
    vital: VitalTasks,
}

impl Dispatcher {
    /// Starts the completer and the claimer.
    #[must_use]
    pub fn start(parts: DispatcherParts) -> Self {
        let (completions, queue) = completion_queue();
        let context = Arc::new(Context::new(parts, completions));
        context.reload();
        let (vital, stopping) = (VitalTasks::default(), &context.stopping);
        let completer = completer::run(Arc::clone(&context), queue);
        let claimer = claimer::run(Arc::clone(&context));
        let worker_queue = scheduler::serve_worker_queue(Arc::clone(&context));
        let on = &context.parts.deliver_on;
        context.tasks.spawn_on(vital.supervised("completer", stopping, completer), on);
        context.tasks.spawn_on(vital.supervised("claimer", stopping, claimer), on);
        let worker_queue = vital.supervised("queue for function workers", stopping, worker_queue);
        context.tasks.spawn_on(worker_queue, on);
        if context.shares() {
            let exchange = sharing::run(Arc::clone(&context));
            let exchange = vital.supervised("exchange with other nodes", stopping, exchange);
            context.tasks.spawn_on(exchange, on);
            let due = sharing::follow_due(Arc::clone(&context));
            let due = vital.supervised("look for what other nodes accepted", stopping, due);
            context.tasks.spawn_on(due, on);
        }
        Self { context, vital }
    }

    /// Resolves when the claimer or the completer has failed, with the cause: nothing is delivered any more.
    pub async fn failed(&self) -> String {
        self.vital.failed().await
    }

    /// The node that owns the leases.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.context.parts.node_id
    }

    /// Applies the routes in force; to be called after they were swapped.
    pub fn reload(&self) {
        self.context.reload();
    }

    /// Reserves slots for up to `count` deliveries of this mapping; each is either dispatched or
    /// released. None while its circuit is open, it does not deliver, or the process stops.
    #[must_use]
    pub fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        if self.context.stopping.is_cancelled() {
            return 0;
        }
        let clock = &self.context.parts.clock;
        let limiter = self.context.limiter(mapping_id);
        limiter
            .filter(|limiter| limiter.right.lasts(|| clock.uptime()))
            .map_or(0, |limiter| limiter.reserve(mapping_id, count))
    }

    /// Releases reserved slots that were not used.
    pub fn release(&self, mapping_id: MappingId, count: u32) {
        if let Some(limiter) = self.context.limiter(mapping_id) {
            limiter.release(mapping_id, count);
        }
    }

    /// Dispatches deliveries that were committed as leased to this node, into their reserved slots.
    pub fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        scheduler::enqueue(&self.context, deliveries, true);
    }

    /// Deliveries of these mappings were committed as pending and are due.
    pub fn notify_due(&self, mappings: &[MappingId]) {
        let now = self.context.parts.clock.service_now();
        for mapping_id in mappings {
            self.context.note_due(*mapping_id, now);
        }
        self.context.claim_wanted.notify_one();
    }

    /// Reads due times from the store and wakes the claimer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.context.refresh().await
    }

    /// Releases prefetched deliveries whose lease is about to expire, and records an `unknown` attempt
    /// for every lease that expired without an outcome. Returns how many expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expire_leases(&self) -> Result<u64, StoreError> {
        let now = self.context.parts.clock.service_now();
        // A prefetched delivery has not been attempted: its lease must not become an attempt.
        let until = now + RELEASE_BEFORE_EXPIRY;
        let limiters = self.context.limiters();
        let prefetched: Vec<_> =
            limiters.iter().flat_map(|limiter| limiter.drain_expiring(until)).collect();
        if !prefetched.is_empty() {
            self.context.release(prefetched).await;
            self.context.refresh().await?;
        }
        lease_reaper::run(&self.context).await
    }

    /// Makes dead letters of attempted deliveries past their deadline: while a circuit is open, no claim
    /// finds them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle_overdue(&self) -> Result<u64, StoreError> {
        claimer::settle_overdue(&self.context).await
    }

    /// Counts dead letters of removed mappings.
    pub fn count_removed(&self, count: u64) {
        claimer::count_dead(&self.context, Reason::Removed, count);
    }

    /// Shuts down: stops claiming, releases prefetched deliveries, and drains the requests in flight
    /// within `grace`, their attempts recorded. Leases that are left expire.
    pub async fn stop(&self, grace: Duration) {
        let context = &self.context;
        context.stopping.cancel();
        let limiters = context.limiters();
        let prefetched: Vec<_> = limiters.iter().flat_map(|limiter| limiter.drain()).collect();
        context.release(prefetched).await;
        context.requests.close();
        let have_ended = tokio::time::timeout(grace, context.requests.wait()).await.is_ok();
        if !have_ended {
            let left = context.requests.len();
            tracing::warn!(
                left,
                "requests did not end within the grace time; their leases will expire"
            );
        }
        context.tasks.close();
        if tokio::time::timeout(grace, context.tasks.wait()).await.is_err() {
            tracing::error!(
                "attempts could not be recorded within the grace time; their leases will expire"
            );
        }
        if have_ended {
            sharing::release(context).await;
        }
    }
}
