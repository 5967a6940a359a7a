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
use crate::auth::Authenticator;
use crate::delivery::Dispatcher;
use crate::domain::id::NodeId;
use crate::domain::source_limiter::{self, SourceLimiter};
use crate::functions::{FunctionPool, PoolOptions};
use crate::maintenance::ClockSteps;
use crate::outbound_auth::{Authorizer, AuthorizerParts};
use crate::sender::{AddressPolicy, Sender, SenderOptions};
use crate::settings::Settings;
use crate::settings::secrets::{self, Keyring};
use crate::store::{self, DeliveryQueue, OpenRequest, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{ExporterOptions, SpanExporter, Tracer};

/// How long the start waits until the leases of the process before are expired.
const EXPIRY_PATIENCE: Duration = Duration::from_millis(500);
/// How long a write to a client may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn open_store(
    parts: &AppParts,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Store>, AppError> {
    let settings = &parts.settings;
    let request = OpenRequest {
        database: &settings.database,
        min_free_disk_bytes: settings.min_free_disk_mib.saturating_mul(1024 * 1024),
        metrics: Arc::clone(metrics),
        clock: Arc::clone(&parts.clock),
    };
    Ok(store::open(request).await?)
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

/// Continues service time from the last moment on record. A long outage cannot be told from a step of the wall
/// clock, so it counts as one.
pub(super) async fn continue_service_time(
    parts: &AppParts,
    store: &dyn Store,
) -> Result<ClockSteps, AppError> {
    let clock_steps = ClockSteps::new(Arc::clone(&parts.clock));
    if let Some(last) = store.last_moment().await? {
        let micros = parts.clock.now().as_micros() - last.wall.as_micros();
        if micros < 0 {
            tracing::warn!(micros, "the wall clock was set back while the service was down");
        }
        parts.clock.continue_from(last);
        clock_steps.note(micros);
    }
    Ok(clock_steps)
}

pub(super) async fn register_node(parts: &AppParts, store: &dyn Store) -> Result<NodeId, AppError> {
    Ok(store.register_node(&parts.settings.node_name, parts.clock.moment()).await?)
}

/// The outbox that deliveries come from.
pub(super) fn outbox(parts: &mut AppParts, store: &Arc<dyn Store>) -> Arc<dyn DeliveryQueue> {
    let outbox: Arc<dyn DeliveryQueue> = store.clone();
    match parts.wrap_outbox.take() {
        Some(wrap) => wrap(outbox),
        None => outbox,
    }
}

/// Opens access control, with the operator's token from its file.
pub(super) async fn authenticator(
    parts: &AppParts,
    store: &Arc<dyn Store>,
) -> Result<Arc<Authenticator>, AppError> {
    let token = secrets::operator_token(&parts.settings.token_file)?;
    let clock = Arc::clone(&parts.clock);
    Ok(Arc::new(Authenticator::open(store.clone(), store.clone(), clock, &token).await?))
}

/// What authorizes requests to receivers.
pub(super) fn authorizer(
    parts: &AppParts,
    store: &Arc<dyn Store>,
    sender: &Arc<Sender>,
    keyring: &Arc<Keyring>,
) -> Authorizer {
    Authorizer::new(AuthorizerParts {
        store: store.clone(),
        sender: Arc::clone(sender),
        keyring: Arc::clone(keyring),
        clock: Arc::clone(&parts.clock),
    })
}

/// The limits of sources, with what they have used today.
pub(super) async fn source_limiter(
    parts: &AppParts,
    store: &dyn Store,
) -> Result<Arc<SourceLimiter>, AppError> {
    // Yesterday too: the clock may be set back.
    let since = source_limiter::day_of(parts.clock.now()) - 1;
    Ok(Arc::new(SourceLimiter::resume(&store.source_usage(since).await?)))
}

pub(super) fn functions(parts: &AppParts) -> Arc<FunctionPool> {
    let workers = parts.settings.function_workers;
    Arc::new(FunctionPool::new(PoolOptions { workers, ..parts.functions.clone() }))
}

/// Records the leases that the process before left: their outcome is unknown. Of very many, the rest is recorded
/// while the service runs.
pub(super) async fn expire_previous_leases(dispatcher: &Dispatcher) -> Result<(), AppError> {
    let dispatcher = dispatcher.clone();
    let expiring = tokio::spawn(async move {
        let expired = dispatcher.expire_leases().await;
        match &expired {
            Ok(0) => {}
            Ok(expired) => {
                tracing::warn!(
                    expired,
                    "expired the previous process's leases; their outcome is unknown"
                );
            }
            Err(error) => tracing::error!(%error, "the previous process's leases are not expired"),
        }
        expired
    });
    match tokio::time::timeout(EXPIRY_PATIENCE, expiring).await {
        Ok(Ok(expired)) => Ok(expired.map(|_| ())?),
        // It goes on; after a panic the lease reaper's next run takes over.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

pub(super) fn sender(parts: &AppParts) -> Result<Sender, AppError> {
    Ok(Sender::new(SenderOptions {
        policy: AddressPolicy::new(parts.settings.allow_networks.clone())
            .with_ports(parts.settings.delivery_ports.clone()),
        user_agent: parts.settings.user_agent.clone(),
        response_keep_bytes: usize::try_from(parts.settings.response_keep_bytes).unwrap_or(0),
        max_connections: usize::try_from(parts.settings.max_in_flight).unwrap_or(usize::MAX),
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
        body_timeout: Duration::from_millis(settings.body_timeout_ms),
        write_timeout: WRITE_TIMEOUT,
        grace,
    }
}
