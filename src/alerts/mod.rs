//! Alerts: looks at what the dispatcher, the store and the disk tell, keeps which alerts stand, and tells of
//! each once: a log line, a metric, and an event for the destination that the settings name. Never of
//! that destination itself: it would be told by what it tells of.

mod rules;
mod state;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::delivery::Dispatcher;
use crate::domain::alert::{Alert, AlertKind, Condition};
use crate::domain::auth::DestinationPath;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::MappingId;
use crate::routing::LiveRoutes;
use crate::store::{StatisticsRow, Store, StoreError};
use crate::telemetry::metrics::{AlertLabel, Metrics};

use rules::{Minute, Signs};
use state::Board;

/// What became of the attempt to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is in the outbox.
    Accepted,
    /// There is no such destination.
    NoDestination,
}

/// Puts an event of the service's own into the outbox.
#[async_trait]
pub trait Tell: Send + Sync + 'static {
    /// Accepts a `track` message for one destination only.
    async fn tell(&self, to: &DestinationPath, message: String) -> Result<Told, StoreError>;
}

/// What alerts work with.
pub struct AlertParts {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// What knows of circuits and windows.
    pub dispatcher: Dispatcher,
    /// What is set up.
    pub routes: LiveRoutes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where to count, and what knows of the disk.
    pub metrics: Arc<Metrics>,
    /// What puts their events into the outbox.
    pub tell: Arc<dyn Tell>,
    /// Where their events go; none: nowhere.
    pub destination: Option<DestinationPath>,
    /// So many dead letters of a destination within an hour raise one; 0: never.
    pub dead_letters_per_hour: u64,
    /// Below so much free space intake refuses events.
    pub floor_bytes: u64,
    /// This node's name.
    pub node_name: String,
}

/// The alerts at work; cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    parts: Arc<AlertParts>,
    state: Arc<Mutex<Option<State>>>,
    signs: Arc<std::sync::Mutex<Signs>>,
}

struct State {
    board: Board,
    /// Of which it was said that they cannot be told, so that it is said once.
    untold: HashSet<(AlertKind, String)>,
}

impl Alerts {
    /// Alerts that have not looked yet.
    #[must_use]
    pub fn new(parts: AlertParts) -> Self {
        Self { parts: Arc::new(parts), state: Arc::default(), signs: Arc::default() }
    }

    /// Takes minutes of statistics.
    pub fn learn(&self, rows: &[StatisticsRow]) {
        let routes = self.parts.routes.current();
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let Some(mapping) = routes.mapping(MappingId(row.mapping_id)) else { continue };
            let StatisticsRow { minute_at, attempts, delivered, dead, .. } = *row;
            let minute = Minute { minute_at, attempts, delivered, dead };
            signs.learn(destination_of(&mapping.name), minute);
        }
    }

    /// Moves times by a jump of the clock, in microseconds.
    pub async fn shift(&self, micros: i64) {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner).shift(micros);
        if let Some(state) = self.state.lock().await.as_mut() {
            state.board.shift(micros);
        }
    }

    /// Looks once: raises, clears and tells.
    ///
    /// # Errors
    /// When the store does not take it; the next look tries again.
    pub async fn look(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let mut state = self.state.lock().await;
        let state = match &mut *state {
            Some(state) => state,
            none => {
                let board = Board::resume(self.parts.store.alerts().await?, now);
                none.insert(State { board, untold: HashSet::new() })
            }
        };
        let turned = state.board.look(self.observe(now), now);
        turned.iter().for_each(|alert| self.announce(alert));
        for alert in turned {
            self.parts.store.put_alert(alert).await?;
        }
        self.count(&state.board);
        let untold: Vec<_> = state.board.alerts().iter().filter(|it| !it.told).cloned().collect();
        for alert in untold {
            self.tell(state, alert).await?;
        }
        Ok(())
    }

    fn observe(&self, now: Timestamp) -> Vec<Condition> {
        let parts = &*self.parts;
        let routes = parts.routes.current();
        let mut found = Vec::new();
        for (mapping_id, opened_at) in parts.dispatcher.open_circuits() {
            let Some(mapping) = routes.mapping(mapping_id) else { continue };
            found.push(Condition {
                kind: AlertKind::CircuitOpen,
                subject: mapping.name.clone(),
                detail: format!(
                    "nothing but failures; one probe at a time since {}",
                    opened_at.to_iso()
                ),
                raises: true,
            });
        }
        for (mapping_id, deadline_at) in parts.dispatcher.take_expiring_windows() {
            let Some(mapping) = routes.mapping(mapping_id) else { continue };
            found.push(Condition {
                kind: AlertKind::WindowClosing,
                subject: destination_of(&mapping.name).to_owned(),
                detail: format!("undelivered, and tried no more after {}", deadline_at.to_iso()),
                raises: true,
            });
        }
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs.forget(now);
        found.append(&mut signs.conditions(parts.dead_letters_per_hour, now));
        // 0 until the disk was looked at for the first time.
        let free = u64::try_from(parts.metrics.free_disk_bytes.get()).unwrap_or(0);
        if free > 0 {
            found.extend(rules::disk(&parts.node_name, free, parts.floor_bytes));
        }
        found
    }

    fn announce(&self, alert: &Alert) {
        let (kind, subject) = (alert.kind.as_str(), alert.subject.as_str());
        if alert.stands() {
            let label = AlertLabel { alert: kind };
            self.parts.metrics.alerts_raised.get_or_create(&label).inc();
            tracing::warn!(alert = kind, subject, detail = alert.detail, "alert raised");
        } else {
            let lasted_s = alert.cleared_at.map(|at| at.since(alert.raised_at).as_secs());
            tracing::info!(alert = kind, subject, lasted_s, "alert cleared");
        }
    }

    fn count(&self, board: &Board) {
        for kind in AlertKind::ALL {
            let of_kind = board.alerts().iter().filter(|it| it.kind == kind && it.stands());
            let label = AlertLabel { alert: kind.as_str() };
            let count = i64::try_from(of_kind.count()).unwrap_or(i64::MAX);
            self.parts.metrics.alerts.get_or_create(&label).set(count);
        }
    }

    /// Tells of an alert where it can be told, and keeps that it was.
    async fn tell(&self, state: &mut State, mut alert: Alert) -> Result<(), StoreError> {
        let to = self.parts.destination.as_ref();
        if let Some(to) = to.filter(|to| !alert.is_about(&to.to_string())) {
            let message = alert.message(&self.parts.node_name);
            let key = (alert.kind, alert.subject.clone());
            if self.parts.tell.tell(to, message).await? == Told::NoDestination {
                if state.untold.insert(key) {
                    tracing::error!(destination = %to, "alert_destination names none: not told");
                }
                return Ok(());
            }
            state.untold.remove(&key);
        }
        state.board.told(alert.kind, &alert.subject);
        if alert.stands() {
            alert.told = true;
            self.parts.store.put_alert(alert).await
        } else {
            self.parts.store.forget_alert(alert.kind, &alert.subject).await
        }
    }
}

/// The destination of a mapping, both by path.
fn destination_of(mapping: &str) -> &str {
    mapping.rsplit_once('/').map_or(mapping, |(destination, _)| destination)
}
