//! Wiring: builds intake, the maintenance duties and the service from the components started before.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use url::Url;

use super::adapters::{self, IntakePublisher};
use super::node::RunningNode;
use super::parts::AppParts;
use crate::alerts::{AlertParts, Alerts};
use crate::api;
use crate::auth::Authenticator;
use crate::domain::id::NodeId;
use crate::domain::inbox::InboxBoard;
use crate::domain::source_limiter::SourceLimiter;
use crate::inspector::Inspectors;
use crate::intake::{InboxParts, Intake, IntakeParts, TrustedProxies};
use crate::live::{Feed, LiveEvent, StreamLimit};
use crate::maintenance::{Ages, ClockSteps, Duties, Retention};
use crate::pipeline::{Editor, Turns};
use crate::routing::LiveRoutes;
use crate::service::Service;
use crate::settings::Settings;
use crate::settings::secrets::Keyring;
use crate::store::{self, Store};
use crate::telemetry::log_rate::LogRate;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::refusals::Refusals;
use crate::telemetry::traces::{SpanExporter, Tracer};

/// The parts that are created before the tasks start.
pub(super) struct Components {
    pub(super) store: Arc<dyn Store>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) node_id: NodeId,
    pub(super) clock_steps: ClockSteps,
    pub(super) routes: LiveRoutes,
    pub(super) node: Arc<RunningNode>,
    pub(super) exporter: Option<(Tracer, SpanExporter)>,
    pub(super) limiter: Arc<SourceLimiter>,
    pub(super) inboxes: InboxBoard,
    pub(super) log_rate: Arc<LogRate>,
    /// Tells the ids of this process's live feeds from those of others.
    pub(super) epoch: u64,
}

impl Components {
    pub(super) fn refusals(&self) -> Refusals {
        Refusals::new(Arc::clone(&self.metrics), Arc::clone(&self.log_rate))
    }
}

pub(super) fn intake(parts: &AppParts, components: &Components, live: Feed<LiveEvent>) -> Intake {
    Intake::new(IntakeParts {
        routes: components.routes.clone(),
        store: components.store.clone(),
        dispatch: Arc::new(components.node.dispatcher.clone()),
        live,
        limiter: Arc::clone(&components.limiter),
        spans: components.exporter.as_ref().map(|(tracer, _)| tracer.clone()),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&components.metrics),
        refusals: components.refusals(),
        body_timeout: Duration::from_millis(parts.settings.body_timeout_ms),
        oversized: parts.settings.oversized,
        trusted_proxies: TrustedProxies(parts.settings.trusted_proxies.clone()),
        public_url: parts.settings.public_url.as_deref().and_then(|url| Url::parse(url).ok()),
        rng: StdRng::seed_from_u64(StdRng::seed_from_u64(parts.seed).random()),
    })
}

pub(super) fn inboxes(parts: &AppParts, components: &Components) -> InboxParts {
    InboxParts {
        database: Arc::clone(&components.store).inbox(),
        applications: parts.settings.inbox.iter().map(store::application_inbox).collect(),
        board: components.inboxes.clone(),
    }
}

pub(super) fn duties(parts: &AppParts, components: &Components, intake: Arc<Intake>) -> Duties {
    let settings = &parts.settings;
    let alerts = Alerts::new(AlertParts {
        store: components.store.clone(),
        statistics: components.store.clone(),
        dispatcher: components.node.dispatcher.clone(),
        routes: components.routes.clone(),
        limiter: Arc::clone(&components.limiter),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&components.metrics),
        publisher: Arc::new(IntakePublisher(intake)),
        destination: settings.alert_destination.clone(),
        dead_letters_per_hour: settings.alert_dead_letters_per_hour.into(),
        floor_bytes: settings.min_free_disk_mib.saturating_mul(1024 * 1024),
        node_name: settings.node_name.clone(),
    });
    Duties {
        alerts,
        store: components.store.clone(),
        jobs: components.store.clone(),
        engine_duties: Arc::clone(&components.store).duties(),
        dispatcher: components.node.dispatcher.clone(),
        authenticator: Arc::clone(&components.authenticator),
        clock: Arc::clone(&parts.clock),
        clock_steps: components.clock_steps.clone(),
        node_id: components.node_id,
        secrets: Arc::clone(&components.node) as _,
        limiter: Arc::clone(&components.limiter),
        retention: retention(parts, components),
        stopping: components.node.stopping.clone(),
    }
}

fn retention(parts: &AppParts, components: &Components) -> Retention {
    let settings = &parts.settings;
    Retention {
        store: components.store.clone(),
        clock: Arc::clone(&parts.clock),
        clock_steps: components.clock_steps.clone(),
        ages: Ages { settled: settings.retention, dead: settings.dead_retention },
        stopping: components.node.stopping.clone(),
    }
}

pub(super) fn service(
    parts: &AppParts,
    components: &Components,
    live: Feed<LiveEvent>,
    address: SocketAddr,
) -> Arc<Service> {
    let settings = &parts.settings;
    let base_url = base_url(settings, address);
    let inspectors = settings.inspector.then(|| {
        let secrets = adapters::known_secrets(components.routes.clone());
        let feed = Feed::new(components.epoch, components.node.stopping.clone());
        Arc::new(Inspectors::new(secrets, Arc::clone(&parts.clock), feed))
    });
    let editor = Arc::new(Editor {
        store: components.store.clone(),
        clock: Arc::clone(&parts.clock),
        keyring: Arc::clone(&components.keyring),
        settings: settings.clone(),
        preflight: Arc::clone(&components.node) as _,
        activation: Arc::clone(&components.node) as _,
        turns: Turns::default(),
    });
    Arc::new(Service {
        store: components.store.clone(),
        clock: Arc::clone(&parts.clock),
        authenticator: Arc::clone(&components.authenticator),
        editor,
        settings: settings.clone(),
        node: Arc::clone(&components.node) as _,
        auth: components.node.auth.clone(),
        callback_url: format!("{base_url}{}", api::connection::CALLBACK),
        base_url,
        live,
        limiter: Arc::clone(&components.limiter),
        inboxes: components.inboxes.clone(),
        streams: StreamLimit::default(),
        retention: retention(parts, components),
        inspectors,
        started_at: parts.clock.now(),
    })
}

/// The base URL of this service, without a trailing `/`.
fn base_url(settings: &Settings, address: SocketAddr) -> String {
    let base = settings.public_url.clone().unwrap_or_else(|| {
        let mut here = address;
        if here.ip().is_unspecified() {
            here.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{here}")
    });
    base.trim_end_matches('/').to_owned()
}
