//! Startup steps: open the store, load the keys, register the node, create the HTTP client and the span
//! exporter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::net::TcpListener;

use super::error::AppError;
use super::listener::{ListenError, ListenerOptions};
use super::parts::AppParts;
use crate::domain::id::NodeId;
use crate::sender::{AddressPolicy, Sender, SenderOptions};
use crate::settings::Settings;
use crate::settings::secrets::Keyring;
use crate::store::Store;
use crate::store::sqlite::{OpenOptions, SqliteStore};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{ExporterOptions, SpanExporter, Tracer};

pub(super) async fn open_store(
    parts: &AppParts,
    metrics: &Arc<Metrics>,
) -> Result<Arc<SqliteStore>, AppError> {
    let settings = &parts.settings;
    let mut options =
        OpenOptions::new(&settings.database, Arc::clone(metrics), Arc::clone(&parts.clock));
    options.min_free_disk_bytes = settings.min_free_disk_mib.saturating_mul(1024 * 1024);
    Ok(Arc::new(SqliteStore::open(options).await?))
}

/// Loads the sealing key; creates one unless the database already holds sealed secrets.
pub(super) async fn load_keyring(parts: &AppParts, store: &dyn Store) -> Result<Keyring, AppError> {
    let pipeline = store.pipeline().await?;
    let has_sealed_secrets = !pipeline.write_keys.is_empty()
        || !pipeline.shared_secrets.is_empty()
        || !pipeline.credentials.is_empty()
        || !pipeline.connections.is_empty();
    let settings = &parts.settings;
    let given = settings.secret_key.as_ref();
    Ok(Keyring::load(given, &settings.secret_key_file, has_sealed_secrets)?)
}

/// Registers the node. When the clock is behind the last heartbeat of any node, it was set back during
/// the outage: the schedule is shifted by the difference.
pub(super) async fn register_node(parts: &AppParts, store: &dyn Store) -> Result<NodeId, AppError> {
    let now = parts.clock.now();
    if let Some(last_seen_at) = store.last_seen_at().await?.filter(|at| *at > now) {
        let micros = now.as_micros() - last_seen_at.as_micros();
        tracing::warn!(micros, "the clock was set back while the service was down");
        store.shift_schedule(micros).await?;
    }
    Ok(store.register_node(&parts.settings.node_name, now).await?)
}

pub(super) fn sender(parts: &AppParts) -> Result<Sender, AppError> {
    Ok(Sender::new(SenderOptions {
        policy: AddressPolicy::new(parts.settings.allow_networks.clone()),
        user_agent: parts.settings.user_agent.clone(),
        response_keep_bytes: usize::try_from(parts.settings.response_keep_bytes).unwrap_or(0),
        extra_roots: parts.extra_roots.clone(),
        resolver: parts.resolver.clone(),
        clock: Arc::clone(&parts.clock),
    })?)
}

/// Starts the span exporter, if `otlp_endpoint` is set.
pub(super) fn start_exporter(
    parts: &AppParts,
    metrics: &Arc<Metrics>,
) -> Result<Option<(Tracer, SpanExporter)>, AppError> {
    let Some(endpoint) = parts.settings.otlp_endpoint.clone() else { return Ok(None) };
    let started = Tracer::start(ExporterOptions {
        endpoint,
        node_name: parts.settings.node_name.clone(),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(metrics),
        seed: parts.seed.wrapping_add(1),
    })?;
    Ok(Some(started))
}

pub(super) fn user_agent(settings: &Settings) -> Result<HeaderValue, AppError> {
    HeaderValue::from_str(&settings.user_agent)
        .map_err(|source| AppError::UserAgent { value: settings.user_agent.clone(), source })
}

pub(super) fn local_address(
    listener: &TcpListener,
    settings: &Settings,
) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|source| {
        AppError::Listen(ListenError {
            listen: settings.listen.clone(),
            hint: "the system does not report the bound address",
            source,
        })
    })
}

pub(super) const fn listener_options(settings: &Settings, grace: Duration) -> ListenerOptions {
    ListenerOptions {
        header_timeout: settings.header_timeout(),
        max_connections: settings.max_connections,
        grace,
    }
}
