//! The app: opens the store, wires everything together, serves, and stops in order: no new requests,
//! then the commits under way, then the attempts under way, then the store.

mod alert_sink;
mod dispatch;
mod doors;
mod inspector_secrets;
pub mod listener;
mod process;
#[cfg(target_os = "linux")]
mod program;
pub mod router;
mod threads;
mod wiring;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::delivery::{Dispatcher, DispatcherParts};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::id::NodeId;
use crate::functions::{FunctionPool, PoolOptions};
use crate::intake::Intake;
use crate::live::Feed;
use crate::maintenance::{Duties, JobRunner, Schedule};
use crate::outbound_auth::{Authorizer, AuthorizerParts};
use crate::routing::LiveRoutes;
use crate::sender::{AddressPolicy, ApiClientError, Resolve, Sender, SenderError, SenderOptions};
use crate::settings::secrets::{self, Keyring, SecretError};
use crate::settings::{Loaded, Origin, Settings};
use crate::store::sqlite::{OpenError, OpenOptions, SqliteStore};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{SpanParts, Spans, Telling};

use listener::{ListenError, ListenerOptions};
use process::Running;
use router::Front;
use threads::Threads;
use wiring::{Made, duties, intake_of, service};

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Its address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database was opened and failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key, a token or a secret cannot be read or made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// `user_agent` is no header value.
    #[error("user_agent {value:?} is not a header value: it should be printable ASCII")]
    UserAgent {
        /// The setting.
        value: String,
        /// Why.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
    /// Spans cannot be told where `otlp_endpoint` says.
    #[error("spans cannot be sent to otlp_endpoint")]
    Spans(#[from] ApiClientError),
    /// The threads that deliver do not start.
    #[error("the threads that deliver do not start")]
    Threads(#[source] std::io::Error),
    /// The scheduler of duties does not start.
    #[error("the scheduler of duties does not start")]
    Schedule(#[from] tokio_cron_scheduler::JobSchedulerError),
    /// The system's source of randomness fails.
    #[error("the system's source of randomness fails: {0}")]
    Randomness(getrandom::Error),
    /// The database failed in a way that only a restart mends.
    #[error("the database failed and the process ends; a restart recovers: {cause}")]
    Fatal {
        /// What failed.
        cause: String,
    },
}

/// What an app is made of.
pub struct AppParts {
    /// The settings in force.
    pub settings: Settings,
    /// Where each came from, by name; those not named are defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Seeds jitter and the ids given to messages without one.
    pub seed: u64,
    /// Resolves receivers' names; none: the system's resolver.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Certificates trusted beside the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What insert functions run in, but for the number of workers, which is a setting.
    pub functions: PoolOptions,
    /// Whether the duties run by themselves; a test may run them by hand.
    pub scheduled: bool,
    /// What deliveries run on; none: threads of their own. On its own, a test decides what goes on when.
    pub deliver_on: Option<Handle>,
}

impl AppParts {
    /// The parts of a real service.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(settings: Settings) -> Result<Self, AppError> {
        Ok(Self {
            settings,
            origins: BTreeMap::new(),
            clock: Arc::new(SystemClock::new()),
            seed: getrandom::u64().map_err(AppError::Randomness)?,
            resolver: None,
            extra_roots: Vec::new(),
            functions: PoolOptions::default(),
            scheduled: true,
            deliver_on: None,
        })
    }
}

/// A service that runs in this process.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its dispatcher.
    pub dispatcher: Dispatcher,
    /// Its duties.
    pub duties: Duties,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    sqlite: Arc<SqliteStore>,
    functions: Arc<FunctionPool>,
    threads: Threads,
    intake: Arc<Intake>,
    telling: Option<Telling>,
    schedule: Option<Schedule>,
    job_runner: JoinHandle<()>,
    connections: JoinHandle<()>,
    server: JoinHandle<()>,
    stop_server: CancellationToken,
    stopping: CancellationToken,
    grace: Duration,
}

/// Serves until the process is told to stop (SIGTERM, SIGINT) or the database fails for good.
///
/// # Errors
/// [`AppError`] when it does not start, or ends by itself.
pub async fn serve(loaded: Loaded) -> Result<(), AppError> {
    let parts = AppParts { origins: loaded.origins, ..AppParts::new(loaded.settings)? };
    let app = App::start(parts).await?;
    #[cfg(target_os = "linux")]
    tokio::spawn(program::stay_small());
    tracing::info!(address = %app.address, version = env!("CARGO_PKG_VERSION"), "serving");
    tokio::select! {
        () = told_to_stop() => {
            tracing::info!("stopping: finishing what is under way");
            app.stop().await;
            tracing::info!("stopped");
            Ok(())
        }
        cause = app.failed() => Err(AppError::Fatal { cause }),
    }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be listened for; SIGINT can");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl App {
    /// Starts a service. Whatever can be refused is refused before the database is touched.
    ///
    /// # Errors
    /// [`AppError`], each with its cause.
    pub async fn start(parts: AppParts) -> Result<Self, AppError> {
        let listener = listener::bind(&parts.settings.listen).await?;
        let user_agent = user_agent(&parts.settings)?;
        let metrics = Arc::new(Metrics::new());
        let sqlite = open(&parts, &metrics).await?;
        let store = Arc::clone(&sqlite) as Arc<dyn Store>;
        let keyring = Arc::new(keyring(&parts, &*store).await?);
        let token = secrets::operator_token(&parts.settings.token_file)?;
        let clock = Arc::clone(&parts.clock);
        let authenticator = Arc::new(Authenticator::open(Arc::clone(&store), clock, &token).await?);
        let node_id = enter(&parts, &*store).await?;
        let sender = Arc::new(sender(&parts)?);
        let functions = Arc::new(FunctionPool::new(PoolOptions {
            workers: parts.settings.function_workers,
            ..parts.functions.clone()
        }));
        let auth = Authorizer::new(AuthorizerParts {
            store: Arc::clone(&store),
            sender: Arc::clone(&sender),
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&parts.clock),
        });
        let routes = process::load_routes(&*store, &keyring, &*parts.clock, &auth).await?;
        let routes = LiveRoutes::new(routes);
        let telling = telling(&parts, &metrics)?;
        let threads = Threads::of(parts.deliver_on.clone()).map_err(AppError::Threads)?;
        let dispatcher = Dispatcher::start(DispatcherParts {
            store: Arc::clone(&store),
            sender: Arc::clone(&sender),
            functions: Arc::clone(&functions),
            auth: auth.clone(),
            routes: routes.clone(),
            clock: Arc::clone(&parts.clock),
            metrics: Arc::clone(&metrics),
            node_id,
            spans: telling.as_ref().map(|(spans, _)| spans.clone()),
            max_in_flight: parts.settings.max_in_flight,
            user_agent,
            seed: parts.seed,
            deliver_on: threads.handle().clone(),
        });
        let expired = dispatcher.expire_other_nodes().await?;
        if expired > 0 {
            tracing::warn!(expired, "leases of the process before; their outcome is not known");
        }
        let stopping = CancellationToken::new();
        let running = Arc::new(Running {
            store: Arc::clone(&store),
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&parts.clock),
            sender,
            functions,
            auth,
            routes: routes.clone(),
            dispatcher: dispatcher.clone(),
            jobs: JobRunner::default(),
            stopping: stopping.clone(),
            taking_over: tokio::sync::Mutex::default(),
        });
        let made = Made {
            sqlite,
            store,
            authenticator,
            metrics,
            keyring,
            node_id,
            routes,
            running,
            telling,
        };
        Self::run(parts, listener, made, threads).await
    }

    /// Sets everything that was made going.
    async fn run(
        parts: AppParts,
        listener: TcpListener,
        made: Made,
        threads: Threads,
    ) -> Result<Self, AppError> {
        let settings = &parts.settings;
        let address = local_address(&listener, settings)?;
        let live = Feed::new(made.running.stopping.clone());
        let service = service(&parts, &made, live.clone(), address);
        let intake = Arc::new(intake_of(&parts, &made, live));
        let duties = duties(&parts, &made, Arc::clone(&intake));
        let Made { sqlite, store, metrics, running, telling, .. } = made;
        let operator = doors::operator(service, &metrics, parts.origins);
        let front = Front::new(Arc::clone(&intake), operator);
        let grace = Duration::from_millis(settings.shutdown_grace_ms);
        let options = listener_options(settings, grace);
        let stop_server = CancellationToken::new();
        let schedule = if parts.scheduled { Some(Schedule::start(&duties).await?) } else { None };
        Ok(Self {
            address,
            store,
            dispatcher: running.dispatcher.clone(),
            metrics,
            sqlite,
            functions: Arc::clone(&running.functions),
            threads,
            intake,
            telling: telling.map(|(_, telling)| telling),
            schedule,
            job_runner: tokio::spawn(running.jobs.clone().run(duties.clone())),
            connections: tokio::spawn(Arc::clone(&running).follow_connections()),
            server: tokio::spawn(listener::serve(listener, front, options, stop_server.clone())),
            stop_server,
            stopping: running.stopping.clone(),
            duties,
            grace,
        })
    }

    /// Resolves when the database has failed for good, with what failed.
    pub async fn failed(&self) -> String {
        self.sqlite.failed().await
    }

    /// Stops in order; what is under way has the grace to end.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.stop_server.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the server did not end as it should");
        }
        self.intake.finish().await;
        if let Some(schedule) = self.schedule {
            schedule.stop().await;
        }
        if let Err(error) = self.job_runner.await {
            tracing::error!(%error, "the jobs did not end as they should");
        }
        if let Err(error) = self.connections.await {
            tracing::error!(%error, "lost connections were not followed");
        }
        self.dispatcher.stop(self.grace).await;
        drop(self.threads);
        self.functions.stop();
        if let Err(error) = self.duties.clone().note_uses().await {
            tracing::error!(%error, "when tokens were last used is not noted");
        }
        if let Err(error) = self.duties.roll_up().await {
            tracing::error!(%error, "the last minutes of statistics are lost");
        }
        if let Some(telling) = self.telling {
            telling.end().await;
        }
        self.store.close().await;
    }
}

async fn open(parts: &AppParts, metrics: &Arc<Metrics>) -> Result<Arc<SqliteStore>, AppError> {
    let settings = &parts.settings;
    let mut options =
        OpenOptions::new(&settings.database, Arc::clone(metrics), Arc::clone(&parts.clock));
    options.min_free_disk_bytes = settings.min_free_disk_mib.saturating_mul(1024 * 1024);
    Ok(Arc::new(SqliteStore::open(options).await?))
}

/// Reads or makes the key.
async fn keyring(parts: &AppParts, store: &dyn Store) -> Result<Keyring, AppError> {
    let pipeline = store.pipeline().await?;
    let sealed_before = !pipeline.write_keys.is_empty()
        || !pipeline.shared_secrets.is_empty()
        || !pipeline.credentials.is_empty()
        || !pipeline.connections.is_empty();
    Ok(Keyring::of(&parts.settings, sealed_before)?)
}

/// Enters this process into the list of nodes. Where the clock stands before the last time any node
/// was seen, it went back while none ran: what is scheduled goes back with it.
async fn enter(parts: &AppParts, store: &dyn Store) -> Result<NodeId, AppError> {
    let now = parts.clock.now();
    if let Some(last_seen_at) = store.last_seen_at().await?.filter(|at| *at > now) {
        let micros = now.as_micros() - last_seen_at.as_micros();
        tracing::warn!(micros, "the clock went back while the service was down");
        store.shift_schedule(micros).await?;
    }
    Ok(store.register_node(&parts.settings.node_name, now).await?)
}

const fn listener_options(settings: &Settings, grace: Duration) -> ListenerOptions {
    ListenerOptions {
        header_timeout: settings.header_timeout(),
        max_connections: settings.max_connections,
        grace,
    }
}

fn sender(parts: &AppParts) -> Result<Sender, AppError> {
    Ok(Sender::new(SenderOptions {
        policy: AddressPolicy::new(parts.settings.allow_networks.clone()),
        user_agent: parts.settings.user_agent.clone(),
        response_keep_bytes: usize::try_from(parts.settings.response_keep_bytes).unwrap_or(0),
        extra_roots: parts.extra_roots.clone(),
        resolver: parts.resolver.clone(),
        clock: Arc::clone(&parts.clock),
    })?)
}

/// What tells spans, where the settings say to whom.
fn telling(parts: &AppParts, metrics: &Arc<Metrics>) -> Result<Option<(Spans, Telling)>, AppError> {
    let Some(endpoint) = parts.settings.otlp_endpoint.clone() else { return Ok(None) };
    let telling = Spans::start(SpanParts {
        endpoint,
        node_name: parts.settings.node_name.clone(),
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(metrics),
        seed: parts.seed.wrapping_add(1),
    })?;
    Ok(Some(telling))
}

fn user_agent(settings: &Settings) -> Result<HeaderValue, AppError> {
    HeaderValue::from_str(&settings.user_agent)
        .map_err(|source| AppError::UserAgent { value: settings.user_agent.clone(), source })
}

fn local_address(listener: &TcpListener, settings: &Settings) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|source| {
        AppError::Listen(ListenError {
            listen: settings.listen.clone(),
            hint: "the system does not tell the address",
            source,
        })
    })
}
