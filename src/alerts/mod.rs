//! Alerts: evaluates rules over circuits, statistics and disk space, keeps the active alerts, and notifies
//! each change once: a log line, a metric, and an event for the destination that `alert_destination` names.
//! An alert about that destination itself is not sent to it.

mod rules;
mod state;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};

use crate::delivery::Dispatcher;
use crate::domain::alert::{Alert, AlertKind, Condition};
use crate::domain::auth::DestinationPath;
use crate::domain::clock::{Clock, Moment};
use crate::domain::id::MappingId;
use crate::domain::pause::PauseCause;
use crate::domain::source_limiter::SourceLimiter;
use crate::routing::LiveRoutes;
use crate::store::{AlertStore, Statistics, StatisticsRow, StoreError};
use crate::telemetry::metrics::{AlertLabel, Metrics};

use rules::{DestinationStatistics, Minute};
use state::AlertState;

/// The length of a row of statistics.
const MINUTE: Duration = Duration::from_secs(60);

/// The result of publishing an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Its event is in the outbox.
    Accepted,
    /// The destination does not exist.
    NoDestination,
}

/// Publishes alerts as events.
#[async_trait]
pub trait PublishAlert: Send + Sync + 'static {
    /// Writes a `track` message to the outbox, for this destination only.
    async fn publish(
        &self,
        to: &DestinationPath,
        message: String,
    ) -> Result<Publication, StoreError>;
}

/// What alerts are built from.
pub struct AlertParts {
    /// Keeps the active alerts.
    pub store: Arc<dyn AlertStore>,
    /// The statistics of before the start.
    pub statistics: Arc<dyn Statistics>,
    /// Reports open circuits and closing windows.
    pub dispatcher: Dispatcher,
    /// The active pipeline.
    pub routes: LiveRoutes,
    /// Reports sources over their limits.
    pub limiter: Arc<SourceLimiter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Alert counters; also the free disk space.
    pub metrics: Arc<Metrics>,
    /// Publishes their events.
    pub publisher: Arc<dyn PublishAlert>,
    /// The destination of their events; none: no events.
    pub destination: Option<DestinationPath>,
    /// The threshold of dead letters per destination and hour; 0 disables it.
    pub dead_letters_per_hour: u64,
    /// Free space below which intake refuses events, in bytes.
    pub floor_bytes: u64,
    /// This node's name.
    pub node_name: String,
}

/// Evaluates and publishes alerts; cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    parts: Arc<AlertParts>,
    /// None until the first evaluation has loaded it.
    evaluation: Arc<Mutex<Option<Evaluation>>>,
    /// Those that are rolled up; none until they are first needed, then those of the last hour are loaded.
    statistics: Arc<Mutex<Option<DestinationStatistics>>>,
}

/// Takes statistics as they are rolled up. No evaluation runs meanwhile, so that no row is counted twice.
pub struct RollUp<'a> {
    alerts: &'a Alerts,
    statistics: MutexGuard<'a, Option<DestinationStatistics>>,
}

impl RollUp<'_> {
    /// Adds rows that were rolled up since the roll-up began.
    pub fn add(&mut self, rows: &[StatisticsRow]) {
        if let Some(statistics) = &mut *self.statistics {
            self.alerts.add(statistics, rows);
        }
    }
}

struct Evaluation {
    state: AlertState,
    /// Alerts whose failed publication was logged, so that it is logged once.
    unpublished: HashSet<(AlertKind, String)>,
}

impl Alerts {
    /// Alerts before their first evaluation.
    #[must_use]
    pub fn new(parts: AlertParts) -> Self {
        Self { parts: Arc::new(parts), evaluation: Arc::default(), statistics: Arc::default() }
    }

    /// Begins a roll-up of statistics.
    pub async fn begin_roll_up(&self) -> RollUp<'_> {
        RollUp { alerts: self, statistics: self.statistics.lock().await }
    }

    fn add(&self, statistics: &mut DestinationStatistics, rows: &[StatisticsRow]) {
        let (routes, clock) = (self.parts.routes.current(), &self.parts.clock);
        let now = clock.service_now();
        for row in rows {
            let Some(mapping) = routes.mapping(MappingId(row.mapping_id)) else { continue };
            let StatisticsRow { minute_at, attempts, failed, dead, .. } = *row;
            let ended_at = clock.to_service(minute_at + MINUTE).min(now);
            let minute = Minute { ended_at, attempts, failed, dead };
            statistics.add(destination_of(&mapping.name), minute);
        }
    }

    /// The conditions over the statistics of the last hour.
    async fn statistics_conditions(&self, now: Moment) -> Result<Vec<Condition>, StoreError> {
        let mut loaded = self.statistics.lock().await;
        let statistics = match &mut *loaded {
            Some(statistics) => statistics,
            none => {
                let mut statistics = DestinationStatistics::default();
                let since = now.wall - rules::DEAD_WINDOW;
                let rows = self.parts.statistics.rolled_up_statistics(since).await?;
                self.add(&mut statistics, &rows);
                none.insert(statistics)
            }
        };
        statistics.prune(now.service);
        Ok(statistics.conditions(self.parts.dead_letters_per_hour, now.service))
    }

    /// Evaluates the rules once: raises, clears and notifies.
    ///
    /// # Errors
    /// When the store fails; the next evaluation retries.
    pub async fn evaluate(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.moment();
        let mut evaluation = self.evaluation.lock().await;
        let evaluation = match &mut *evaluation {
            Some(evaluation) => evaluation,
            none => {
                let state = AlertState::resume(self.parts.store.alerts().await?, now.service);
                none.insert(Evaluation { state, unpublished: HashSet::new() })
            }
        };
        let mut found = self.conditions();
        found.append(&mut self.statistics_conditions(now).await?);
        let changed = evaluation.state.update(found, now);
        changed.iter().for_each(|alert| self.log(alert));
        for alert in changed {
            self.parts.store.put_alert(alert).await?;
        }
        self.count(&evaluation.state);
        let alerts = evaluation.state.alerts().iter();
        let unpublished: Vec<_> = alerts.filter(|it| !it.published).cloned().collect();
        for alert in unpublished {
            self.publish(evaluation, alert).await?;
        }
        Ok(())
    }

    /// The conditions that hold now, but for those over statistics.
    fn conditions(&self) -> Vec<Condition> {
        let parts = &*self.parts;
        let routes = parts.routes.current();
        let mut found = Vec::new();
        for (mapping_id, opened_at) in parts.dispatcher.open_circuits() {
            let Some(mapping) = routes.mapping(mapping_id) else { continue };
            found.push(Condition {
                kind: AlertKind::CircuitOpen,
                subject: mapping.name.clone(),
                detail: format!(
                    "circuit open since {}; one probe request at a time",
                    parts.clock.to_wall(opened_at)
                ),
                raises: true,
            });
        }
        for mapping in routes.mappings().filter(|it| it.paused == Some(PauseCause::Gone)) {
            found.push(Condition {
                kind: AlertKind::ReceiverGone,
                subject: mapping.name.clone(),
                detail: "paused: its receiver answered 410 Gone; resume it, or remove it"
                    .to_owned(),
                raises: true,
            });
        }
        for (mapping_id, deadline_at) in parts.dispatcher.take_expiring_windows() {
            let Some(mapping) = routes.mapping(mapping_id) else { continue };
            found.push(Condition {
                kind: AlertKind::WindowClosing,
                subject: destination_of(&mapping.name).to_owned(),
                detail: format!(
                    "an undelivered event expires at {}",
                    parts.clock.to_wall(deadline_at)
                ),
                raises: true,
            });
        }
        for (source_id, refused) in parts.limiter.take_refusals() {
            let Some(source) = routes.source(source_id) else { continue };
            found.push(rules::limited(&source.name, &source.limits, refused));
        }
        // 0 until the free space is measured for the first time.
        let free = u64::try_from(parts.metrics.free_disk_bytes.get()).unwrap_or(0);
        if free > 0 {
            found.extend(rules::disk(&parts.node_name, free, parts.floor_bytes));
        }
        found
    }

    fn log(&self, alert: &Alert) {
        let (kind, subject) = (alert.kind.as_str(), alert.subject.as_str());
        if alert.is_active() {
            let label = AlertLabel { alert: kind };
            self.parts.metrics.alerts_raised.get_or_create(&label).inc();
            tracing::warn!(alert = kind, subject, detail = alert.detail, "alert raised");
        } else {
            let lasted_s = alert.cleared_at.map(|at| at.since(alert.raised_at).as_secs());
            tracing::info!(alert = kind, subject, lasted_s, "alert cleared");
        }
    }

    fn count(&self, state: &AlertState) {
        for kind in AlertKind::ALL {
            let of_kind = state.alerts().iter().filter(|it| it.kind == kind && it.is_active());
            let label = AlertLabel { alert: kind.as_str() };
            let count = i64::try_from(of_kind.count()).unwrap_or(i64::MAX);
            self.parts.metrics.alerts.get_or_create(&label).set(count);
        }
    }

    /// Publishes an alert's event if a destination is set, and records that it was published.
    async fn publish(
        &self,
        evaluation: &mut Evaluation,
        mut alert: Alert,
    ) -> Result<(), StoreError> {
        let to = self.parts.destination.as_ref();
        if let Some(to) = to.filter(|to| !alert.is_about(&to.to_string())) {
            let message = alert.message(&self.parts.node_name);
            let key = (alert.kind, alert.subject.clone());
            if self.parts.publisher.publish(to, message).await? == Publication::NoDestination {
                if evaluation.unpublished.insert(key) {
                    tracing::error!(destination = %to, "alert not sent: alert_destination does not exist");
                }
                return Ok(());
            }
            evaluation.unpublished.remove(&key);
        }
        evaluation.state.mark_published(alert.kind, &alert.subject);
        if alert.is_active() {
            alert.published = true;
            self.parts.store.put_alert(alert).await
        } else {
            self.parts.store.remove_alert(alert.kind, &alert.subject).await
        }
    }
}

/// The path of a mapping's destination.
fn destination_of(mapping: &str) -> &str {
    mapping.rsplit_once('/').map_or(mapping, |(destination, _)| destination)
}
