//! The service as a whole: the ledger, what is open, and the store's own examination.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{destination_path, mapping_path};
use super::{Refusal, Service};
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::auth::{Caller, Operator};
use crate::store::{Finding, Ledger, Pipeline};

/// The service as it stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// This node's name.
    pub node_name: String,
    /// When it started.
    pub started_at: String,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// Why it is not ready; none when it is.
    pub not_ready: Option<String>,
    /// Rises with every change of the pipeline.
    pub pipeline_version: i64,
    /// Events and deliveries by what became of them.
    pub ledger: LedgerView,
    /// Mappings that are being tried by one probe at a time.
    pub open_circuits: Vec<CircuitView>,
    /// Alerts that stand, the oldest first.
    #[serde(default)]
    pub alerts: Vec<AlertView>,
    /// Destinations whose deliveries are held because they are not connected.
    #[serde(default)]
    pub held: Vec<HeldView>,
}

/// Events and deliveries by what became of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Events accepted, rejected ones not counted.
    pub events_accepted: u64,
    /// Events kept as rejected.
    pub events_rejected: u64,
    /// Messages acknowledged as duplicates.
    pub events_duplicate: u64,
    /// Deliveries made with their events.
    pub accepted: u64,
    /// Deliveries now pending.
    pub pending: u64,
    /// Deliveries now leased.
    pub leased: u64,
    /// Deliveries now delivered, pruned ones included.
    pub delivered: u64,
    /// Deliveries now dead, pruned ones included.
    pub dead: u64,
    /// Deliveries now discarded, pruned ones included.
    pub discarded: u64,
}

/// An alert that stands.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// What it is about: `circuit_open`, `destination_failing`, `dead_letters`, `window_closing`,
    /// `disk_low`.
    pub alert: String,
    /// Of what: a mapping, destination or node by name.
    pub subject: String,
    /// What was found when it was raised.
    pub detail: String,
    /// Since when.
    pub raised_at: String,
}

/// A mapping whose circuit is open.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CircuitView {
    /// `source/destination/mapping`.
    pub mapping: String,
    /// Since when.
    pub opened_at: String,
}

/// A destination that waits to be connected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldView {
    /// `source/destination`.
    pub destination: String,
    /// Why its deliveries are held.
    pub why: String,
}

/// One finding of the store's examination.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// What was examined.
    pub check: String,
    /// Whether all is well.
    pub ok: bool,
    /// What was found, with numbers.
    pub detail: String,
}

impl From<Ledger> for LedgerView {
    fn from(ledger: Ledger) -> Self {
        Self {
            events_accepted: ledger.events_accepted,
            events_rejected: ledger.events_rejected,
            events_duplicate: ledger.events_duplicate,
            accepted: ledger.accepted,
            pending: ledger.pending,
            leased: ledger.leased,
            delivered: ledger.delivered,
            dead: ledger.dead,
            discarded: ledger.discarded,
        }
    }
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

/// Enabled destinations that wait to be connected.
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
            format!("{} needed, all there", needing.count())
        } else {
            lines.collect::<Vec<_>>().join("; ")
        },
    }
}

impl Service {
    /// The service as it stands.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn status(&self, caller: &Caller) -> Result<StatusView, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let mut circuits = self.node.open_circuits();
        circuits.retain(|it| pipeline.mappings.iter().any(|mapping| mapping.id == it.mapping_id));
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: self.settings.node_name.clone(),
            started_at: self.started_at.to_iso(),
            uptime_s: self.clock.now().since(self.started_at).as_secs(),
            not_ready: self.not_ready(),
            pipeline_version: pipeline.version,
            ledger: self.store.ledger().into(),
            held: held(&pipeline),
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

    /// The alerts that stand, as far as the caller may see what they are about.
    async fn alerts(&self, caller: &Caller) -> Result<Vec<AlertView>, Refusal> {
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

    /// Why the service is not ready; none when it is.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.node.not_ready().or_else(|| {
            (!self.store.has_room())
                .then(|| "the disk is below its floor: intake refuses events".to_owned())
        })
    }

    /// What examining the whole store found. Slow.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn doctor(&self, operator: &Operator) -> Result<Vec<FindingView>, Refusal> {
        operator.reaches_everything()?;
        let findings = self.store.examine(self.clock.now()).await?;
        let mut findings: Vec<_> = findings.into_iter().map(FindingView::from).collect();
        findings.push(connections(&self.store.pipeline().await?));
        Ok(findings)
    }
}
