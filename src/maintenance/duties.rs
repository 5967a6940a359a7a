//! The duties: each is one step of the store, the dispatcher, the alerts or the access control, run by the
//! schedule.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::clock_steps::ClockSteps;
use crate::alerts::Alerts;
use crate::auth::Authenticator;
use crate::delivery::Dispatcher;
use crate::domain::clock::Clock;
use crate::domain::id::NodeId;
use crate::store::{EngineDuty, Jobs, Maintenance, PruneRequest, StoreError};

/// Deliveries of removed mappings that one write step ends.
const REMOVED_BATCH: u32 = 128;
/// Events pruned in one write step.
const PRUNE_BATCH: u32 = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the duties run on.
#[derive(Clone)]
pub struct Duties {
    /// The store's maintenance steps.
    pub store: Arc<dyn Maintenance>,
    /// Redrive and discard jobs.
    pub jobs: Arc<dyn Jobs>,
    /// Duties that only the store's engine has.
    pub engine_duties: Vec<EngineDuty>,
    /// Deliveries.
    pub dispatcher: Dispatcher,
    /// Authenticator control: tokens and their last use.
    pub authenticator: Arc<Authenticator>,
    /// Alerts.
    pub alerts: Alerts,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Its steps.
    pub clock_steps: ClockSteps,
    /// This node.
    pub node_id: NodeId,
    /// Retires rotated shared secrets.
    pub secrets: Arc<dyn RetireSecrets>,
    /// Retention of settled deliveries, in days.
    pub retention_days: u32,
    /// Retention of dead letters, in days.
    pub dead_retention_days: u32,
    /// Cancelled at shutdown; ends long duties.
    pub stopping: CancellationToken,
}

/// Retires shared secrets whose rotation overlap has ended.
#[async_trait]
pub trait RetireSecrets: Send + Sync + 'static {
    /// Retires those that are due.
    async fn retire_secrets(&self);
}

impl Duties {
    /// Updates the gauges, and records a step of the wall clock.
    pub(super) async fn follow_clock(self) -> Result<(), StoreError> {
        self.dispatcher.observe();
        if let Some(micros) = self.clock.take_step() {
            tracing::warn!(micros, "the wall clock stepped: schedules go on in service time");
            self.clock_steps.note(micros);
            self.store.heartbeat(self.node_id, self.clock.moment()).await?;
        }
        Ok(())
    }

    /// Evaluates the alert rules once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn evaluate_alerts(self) -> Result<(), StoreError> {
        self.alerts.evaluate().await
    }

    /// Writes the node's heartbeat, and expires leases without an outcome.
    pub(super) async fn expire_leases(self) -> Result<(), StoreError> {
        self.store.heartbeat(self.node_id, self.clock.moment()).await?;
        let expired = self.dispatcher.expire_leases().await?;
        if expired > 0 {
            tracing::warn!(expired, "leases expired without an outcome");
        }
        Ok(())
    }

    /// Ends deliveries past their deadline, and those of removed mappings.
    pub(super) async fn settle_overdue(self) -> Result<(), StoreError> {
        self.dispatcher.settle_overdue().await?;
        self.end_removed().await?;
        self.dispatcher.refresh().await
    }

    /// Makes dead letters of the deliveries that wait for removed mappings.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_removed(&self) -> Result<(), StoreError> {
        while !self.stopping.is_cancelled() {
            let ended = self.store.end_removed(self.clock.now(), REMOVED_BATCH).await?;
            if ended.is_empty() {
                break;
            }
            for (mapping_id, count) in ended {
                self.dispatcher.count_removed(mapping_id, count);
            }
        }
        Ok(())
    }

    /// Flushes the statistics of finished minutes to the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn roll_up(self) -> Result<(), StoreError> {
        let rows = self.dispatcher.unstored_statistics();
        if !rows.is_empty() {
            self.store.add_statistics(rows.clone()).await?;
            self.dispatcher.subtract_statistics(&rows);
            self.alerts.add_statistics(&rows);
        }
        self.store.record_backlog(self.clock.now()).await
    }

    /// Stores the last use of tokens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn store_last_used(self) -> Result<(), StoreError> {
        self.authenticator.store_last_used().await
    }

    /// Prunes everything past its retention.
    ///
    /// # Errors
    /// When the store fails; earlier batches stay pruned.
    pub async fn prune(self) -> Result<(), StoreError> {
        if !self.clock_steps.may_delete() {
            tracing::warn!("nothing is pruned within an hour of a large step of the clock");
            return Ok(());
        }
        let now = self.clock.service_now();
        let request = PruneRequest {
            settled_before: now - DAY * self.retention_days,
            dead_before: now - DAY * self.dead_retention_days,
            limit: PRUNE_BATCH,
        };
        let mut events = 0;
        while !self.stopping.is_cancelled() {
            let pruned = self.store.prune(request).await?;
            events += pruned.events;
            if !pruned.more {
                break;
            }
            // Deliveries have priority: between two batches the writer serves its queue.
            tokio::task::yield_now().await;
        }
        if events > 0 {
            tracing::info!(events, "pruned events past their retention");
        }
        Ok(())
    }

    /// Retires shared secrets whose rotation overlap has ended.
    pub(super) async fn retire_secrets(self) -> Result<(), StoreError> {
        self.secrets.retire_secrets().await;
        Ok(())
    }
}
