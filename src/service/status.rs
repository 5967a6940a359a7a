//! The status of the service: the ledger, open circuits, firing alerts, and the consistency check.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{destination_path, mapping_path};
use super::inboxes::{self, InboxView};
use super::pauses::{FaultyMappingView, PausedBacklogView, ReceiverWaitView, receiver_waits};
use super::resources::UsageView;
use super::{Service, ServiceError};
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::auth::{Caller, Operator};
use crate::domain::ledger::Ledger;
use crate::domain::source::SourceLimits;
use crate::store::{Finding, Pipeline};

/// The status of the service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// This node's name.
    pub node_name: String,
    /// When it started.
    pub started_at: String,
    /// Its uptime, in seconds.
    pub uptime_s: u64,
    /// Why it is not ready; none when it is ready.
    pub not_ready: Option<String>,
    /// Why no insert function runs; none while they run. Their deliveries stay pending.
    #[serde(default)]
    pub functions_failure: Option<String>,
    /// The pipeline's version, incremented by every change.
    pub pipeline_version: i64,
    /// Counters of events and deliveries by state.
    pub ledger: Ledger,
    /// Mappings with an open circuit.
    pub open_circuits: Vec<CircuitView>,
    /// Firing alerts, oldest first.
    #[serde(default)]
    pub alerts: Vec<AlertView>,
    /// Sources with a rate or a daily quota, and what they have used of it.
    #[serde(default)]
    pub limited_sources: Vec<LimitedSourceView>,
    /// Destinations whose deliveries are held because they are not connected.
    #[serde(default)]
    pub held: Vec<HeldView>,
    /// Paused and draining destinations and mappings, with their backlogs.
    #[serde(default)]
    pub paused: Vec<PausedBacklogView>,
    /// Mappings whose receiver asked for no request (`Retry-After`).
    #[serde(default)]
    pub receiver_waits: Vec<ReceiverWaitView>,
    /// Inboxes that messages of applications are taken from; for callers without limits.
    #[serde(default)]
    pub inboxes: Vec<InboxView>,
    /// Mappings that this version cannot compile: their deliveries are held.
    #[serde(default)]
    pub faulty_mappings: Vec<FaultyMappingView>,
}

/// A firing alert.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// The kind: `circuit_open`, `destination_failing`, `dead_letters`, `window_closing`,
    /// `source_limited`, `disk_low`, `receiver_gone`.
    pub alert: String,
    /// The mapping, destination, source or node, by name.
    pub subject: String,
    /// The detail at the time when it was raised.
    pub detail: String,
    /// The time since when.
    pub raised_at: String,
}

/// A mapping whose circuit is open.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CircuitView {
    /// `source/destination/mapping`.
    pub mapping: String,
    /// The time since when.
    pub opened_at: String,
}

/// A source with a rate or a daily quota.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitedSourceView {
    /// The source.
    pub source: String,
    /// Its limits.
    #[serde(flatten)]
    pub limits: SourceLimits,
    /// What it has used of them.
    pub usage: UsageView,
}

/// An enabled destination that is not connected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldView {
    /// `source/destination`.
    pub destination: String,
    /// Why its deliveries are held.
    pub why: String,
}

/// One result of the consistency check.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// The name of the check.
    pub check: String,
    /// Whether it passed.
    pub ok: bool,
    /// The result, with numbers.
    pub detail: String,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self { check: finding.check.to_owned(), ok: finding.ok, detail: finding.detail }
    }
}

fn is_seen(caller: &Caller, alert: &Alert) -> bool {
    let mut path = alert.subject.split('/');
    match (path.next(), path.next()) {
        (Some(source), Some(destination)) if alert.kind != AlertKind::DiskLow => {
            caller.scope.covers(source, destination)
        }
        _ => caller.scope.limits().is_none(),
    }
}

/// Enabled destinations that are not connected.
fn held(pipeline: &Pipeline) -> Vec<HeldView> {
    let enabled = pipeline.destinations.iter().filter(|it| it.enabled);
    let held = enabled.filter_map(|it| Some((it, pipeline.held(it)?)));
    held.map(|(destination, why)| HeldView {
        destination: destination_path(pipeline, destination.id).join("/"),
        why: why.to_string(),
    })
    .collect()
}

fn connections(pipeline: &Pipeline) -> FindingView {
    let held = held(pipeline);
    let needing = pipeline.destinations.iter().filter(|it| it.settings.auth.needs_connection());
    let lines = held
        .iter()
        .map(|it| format!("{}: {}; postrider connect {}", it.destination, it.why, it.destination));
    FindingView {
        check: "connections".to_owned(),
        ok: held.is_empty(),
        detail: if held.is_empty() {
            format!("{} needed, all connected", needing.count())
        } else {
            lines.collect::<Vec<_>>().join("; ")
        },
    }
}

fn functions(failure: Option<String>) -> FindingView {
    FindingView {
        check: "functions".to_owned(),
        ok: failure.is_none(),
        detail: failure.unwrap_or_else(|| "the last worker ran in its sandbox".to_owned()),
    }
}

impl Service {
    /// The status of the service.
    ///
    /// # Errors
    /// [`ServiceError`] when the store fails.
    pub async fn status(&self, caller: &Caller) -> Result<StatusView, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let mut circuits = self.node.open_circuits();
        circuits.retain(|it| pipeline.mappings.iter().any(|mapping| mapping.id == it.mapping_id));
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: self.settings.node_name.clone(),
            started_at: self.started_at.to_iso(),
            uptime_s: self
                .clock
                .service_now()
                .since(self.clock.to_service(self.started_at))
                .as_secs(),
            not_ready: self.not_ready(),
            functions_failure: self.node.functions_failure(),
            pipeline_version: pipeline.version,
            ledger: self.store.ledger().await?,
            held: held(&pipeline),
            limited_sources: self.limited_sources(&pipeline),
            paused: self.paused_backlogs(&pipeline).await?,
            receiver_waits: receiver_waits(self.node.receiver_waits(), &pipeline, &*self.clock),
            faulty_mappings: self.faulty_mappings(&pipeline).await?,
            inboxes: self.inboxes(caller),
            alerts: self.alerts(caller).await?,
            open_circuits: circuits
                .into_iter()
                .map(|circuit| CircuitView {
                    mapping: mapping_path(&pipeline, circuit.mapping_id).join("/"),
                    opened_at: circuit.opened_at.to_iso(),
                })
                .collect(),
        })
    }

    /// They concern every source.
    fn inboxes(&self, caller: &Caller) -> Vec<InboxView> {
        let states = caller.scope.limits().is_none().then(|| self.inboxes.states());
        states.into_iter().flatten().map(InboxView::from).collect()
    }

    fn limited_sources(&self, pipeline: &Pipeline) -> Vec<LimitedSourceView> {
        let limited = pipeline.sources.iter().filter_map(|source| {
            let usage = self.usage(source)?;
            Some(LimitedSourceView { source: source.name.clone(), limits: source.limits, usage })
        });
        limited.collect()
    }

    /// The firing alerts within the caller's scope.
    async fn alerts(&self, caller: &Caller) -> Result<Vec<AlertView>, ServiceError> {
        let alerts = self.store.alerts().await?.into_iter().filter(Alert::is_active);
        let seen = alerts.filter(|alert| is_seen(caller, alert));
        Ok(seen
            .map(|alert| AlertView {
                alert: alert.kind.as_str().to_owned(),
                subject: alert.subject,
                detail: alert.detail,
                raised_at: alert.raised_at.to_iso(),
            })
            .collect())
    }

    /// Why the service is not ready; none when it is ready.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.node.not_ready().or_else(|| {
            (!self.store.has_room())
                .then(|| "free disk space is below its floor: intake refuses events".to_owned())
        })
    }

    /// Runs the consistency check over the whole store. Slow.
    ///
    /// # Errors
    /// [`ServiceError`] when the store fails.
    pub async fn doctor(&self, operator: &Operator) -> Result<Vec<FindingView>, ServiceError> {
        operator.reaches_everything()?;
        let findings = self.store.check_consistency(self.clock.service_now()).await?;
        let server = self.store.check_server(self.clock.service_now()).await?;
        let mut findings: Vec<_> =
            findings.into_iter().chain(server).map(FindingView::from).collect();
        findings.extend(inboxes::findings(&self.inboxes).map(FindingView::from));
        findings.push(functions(self.node.functions_failure()));
        findings.push(connections(&self.store.pipeline().await?));
        Ok(findings)
    }
}
