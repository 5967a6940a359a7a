//! Wiring: what intake, the duties and the service are made of, from what the app has made.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::process::Running;
use super::{AppParts, alert_sink, inspector_secrets};
use crate::alerts::{AlertParts, Alerts};
use crate::api;
use crate::auth::Authenticator;
use crate::domain::id::NodeId;
use crate::inspector::Inspectors;
use crate::intake::{Intake, IntakeParts};
use crate::live::{Feed, LiveEvent};
use crate::maintenance::Duties;
use crate::pipeline::Editor;
use crate::routing::LiveRoutes;
use crate::service::Service;
use crate::settings::Settings;
use crate::settings::secrets::Keyring;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Spans, Telling};

/// What the app has made before it is set going.
pub(super) struct Made {
    pub(super) sqlite: Arc<SqliteStore>,
    pub(super) store: Arc<dyn Store>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) node_id: NodeId,
    pub(super) routes: LiveRoutes,
    pub(super) running: Arc<Running>,
    pub(super) telling: Option<(Spans, Telling)>,
}

pub(super) fn intake_of(parts: &AppParts, made: &Made, live: Feed<LiveEvent>) -> Intake {
    Intake::new(IntakeParts {
        routes: made.routes.clone(),
        store: Arc::clone(&made.store),
        dispatch: Arc::new(made.running.dispatcher.clone()),
        live,
        spans: made.telling.as_ref().map(|(spans, _)| spans.clone()),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&made.metrics),
        body_timeout: Duration::from_millis(parts.settings.body_timeout_ms),
        rng: StdRng::seed_from_u64(StdRng::seed_from_u64(parts.seed).random()),
    })
}

pub(super) fn duties(parts: &AppParts, made: &Made, intake: Arc<Intake>) -> Duties {
    let settings = &parts.settings;
    let alerts = Alerts::new(AlertParts {
        store: Arc::clone(&made.store),
        dispatcher: made.running.dispatcher.clone(),
        routes: made.routes.clone(),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&made.metrics),
        tell: Arc::new(alert_sink::OwnEvents(intake)),
        destination: settings.alert_destination.clone(),
        dead_letters_per_hour: settings.alert_dead_letters_per_hour.into(),
        floor_bytes: settings.min_free_disk_mib.saturating_mul(1024 * 1024),
        node_name: settings.node_name.clone(),
    });
    Duties {
        alerts,
        store: Arc::clone(&made.store),
        dispatcher: made.running.dispatcher.clone(),
        authenticator: Arc::clone(&made.authenticator),
        clock: Arc::clone(&parts.clock),
        node_id: made.node_id,
        secrets: Arc::clone(&made.running) as _,
        retention_days: parts.settings.retention_days,
        dead_retention_days: parts.settings.dead_retention_days,
        stopping: made.running.stopping.clone(),
    }
}

pub(super) fn service(
    parts: &AppParts,
    made: &Made,
    live: Feed<LiveEvent>,
    address: SocketAddr,
) -> Arc<Service> {
    let settings = &parts.settings;
    let base_url = base_url(settings, address);
    let inspectors = settings.inspector.then(|| {
        let secrets = inspector_secrets::known_secrets(made.routes.clone());
        let (clock, stopping) = (Arc::clone(&parts.clock), made.running.stopping.clone());
        Arc::new(Inspectors::new(secrets, clock, stopping))
    });
    let editor = Arc::new(Editor {
        store: Arc::clone(&made.store),
        clock: Arc::clone(&parts.clock),
        keyring: Arc::clone(&made.keyring),
        settings: settings.clone(),
        process: Arc::clone(&made.running) as _,
    });
    Arc::new(Service {
        store: Arc::clone(&made.store),
        clock: Arc::clone(&parts.clock),
        authenticator: Arc::clone(&made.authenticator),
        editor,
        settings: settings.clone(),
        process: Arc::clone(&made.running) as _,
        auth: made.running.auth.clone(),
        callback_url: format!("{base_url}{}", api::connection::CALLBACK),
        base_url,
        live,
        inspectors,
        started_at: parts.clock.now(),
    })
}

/// The address that this service is reached by, without a `/` at its end.
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
