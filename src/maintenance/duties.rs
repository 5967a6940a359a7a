//! The duties: each is one step of the store, the dispatcher, the alerts or the access control, run by the
//! schedule.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::clock_steps::ClockSteps;
use super::retention::Retention;
use crate::alerts::Alerts;
use crate::auth::Authenticator;
use crate::delivery::Dispatcher;
use crate::domain::clock::Clock;
use crate::domain::id::NodeId;
use crate::domain::source_limiter::{SourceLimiter, day_of};
use crate::store::{EngineDuty, Jobs, Maintenance, StoreError};

/// Deliveries of removed mappings that one write step ends.
const REMOVED_BATCH: u32 = 128;
/// Rows of statistics that one write step rolls up.
const ROLLED_UP_BATCH: u32 = 128;

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
    /// The limits of sources.
    pub limiter: Arc<SourceLimiter>,
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
    /// Removes what is past its retention.
    pub retention: Retention,
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

    /// Exchanges with other nodes what was admitted from sources with limits.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exchange_usage(self) -> Result<(), StoreError> {
        let admitted = self.limiter.admitted();
        if admitted.is_empty() {
            return Ok(());
        }
        // Yesterday too: the clock may be set back.
        let since_day = day_of(self.clock.now()) - 1;
        let others = self.store.exchange_usage(self.node_id, admitted, since_day).await?;
        self.limiter.follow(&others);
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
            self.dispatcher.count_removed(ended.iter().map(|(_, count)| count).sum());
        }
        Ok(())
    }

    /// Rolls statistics up into minutes and hours, and prunes those past their retention.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn roll_up(self) -> Result<(), StoreError> {
        let mut roll_up = self.alerts.begin_roll_up().await;
        loop {
            let rows = self.store.roll_up_statistics(ROLLED_UP_BATCH).await?;
            if rows.is_empty() {
                break;
            }
            roll_up.add(&rows);
        }
        drop(roll_up);
        self.store.prune_statistics().await?;
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
        self.retention.run().await
    }

    /// Retires shared secrets whose rotation overlap has ended.
    pub(super) async fn retire_secrets(self) -> Result<(), StoreError> {
        self.secrets.retire_secrets().await;
        Ok(())
    }
}
