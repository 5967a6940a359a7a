//! The app: a service that runs in this process. Starts every part in the order of their dependencies.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::descriptors::{self, Descriptors};
use super::error::AppError;
use super::listener;
use super::node::{RunningNode, load_routes};
use super::parts::AppParts;
use super::router::{self, RequestRouter};
use super::startup;
use super::threads::DeliveryThreads;
use super::wiring::{self, Components};
use crate::delivery::{Dispatcher, DispatcherParts, VitalTasks};
use crate::domain::inbox::InboxBoard;
use crate::functions::FunctionPool;
use crate::intake::Intake;
use crate::live::Feed;
use crate::maintenance::{Duties, JobRunner, Schedule};
use crate::routing::LiveRoutes;
use crate::store::Store;
use crate::telemetry::log_rate::LogRate;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::SpanExporter;

/// The wait before jobs go on after a panic of one.
const RETRY_JOBS_AFTER: Duration = Duration::from_secs(60);

/// Runs jobs. A panic ends neither them nor the process, which would meet the same job at its next start.
async fn run_jobs(jobs: JobRunner, duties: Duties) {
    let stopping = duties.stopping.clone();
    loop {
        let run = AssertUnwindSafe(jobs.clone().run(duties.clone())).catch_unwind();
        if run.await.is_ok() {
            return;
        }
        tracing::error!("a job panicked; jobs go on in a minute");
        tokio::select! {
            () = tokio::time::sleep(RETRY_JOBS_AFTER) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// A service that runs in this process.
pub struct App {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its dispatcher.
    pub dispatcher: Dispatcher,
    /// Its maintenance duties.
    pub duties: Duties,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    pub(super) functions: Arc<FunctionPool>,
    pub(super) threads: DeliveryThreads,
    pub(super) intake: Arc<Intake>,
    pub(super) exporter: Option<SpanExporter>,
    pub(super) schedule: Option<Schedule>,
    pub(super) vital: VitalTasks,
    pub(super) job_runner: JoinHandle<()>,
    pub(super) connections: JoinHandle<()>,
    pub(super) inboxes: JoinHandle<()>,
    pub(super) server: JoinHandle<()>,
    pub(super) stop_server: CancellationToken,
    pub(super) stopping: CancellationToken,
    pub(super) grace: Duration,
}

impl App {
    /// Starts a service. The address and the settings are checked before the database is opened.
    ///
    /// # Errors
    /// [`AppError`], with its cause.
    pub async fn start(mut parts: AppParts) -> Result<Self, AppError> {
        let Descriptors { clients, receivers } = descriptors::divide(&parts.settings);
        (parts.settings.max_connections, parts.settings.max_in_flight) = (clients, receivers);
        let listener = listener::bind(&parts.settings.listen).await?;
        let user_agent = startup::user_agent(&parts.settings)?;
        let metrics = Arc::new(Metrics::new());
        let log_rate = Arc::new(LogRate::default());
        let store = startup::open_store(&parts, &metrics).await?;
        let clock_steps = startup::continue_service_time(&parts, &*store).await?;
        let keyring = Arc::new(startup::load_keyring(&parts, &*store).await?);
        let authenticator = startup::authenticator(&parts, &store).await?;
        let node_id = startup::register_node(&parts, &*store).await?;
        let sender = Arc::new(startup::sender(&parts)?);
        let functions = startup::functions(&parts);
        let auth = startup::authorizer(&parts, &store, &sender, &keyring);
        let routes = LiveRoutes::new(load_routes(&*store, &keyring, &*parts.clock, &auth).await?);
        let limiter = startup::source_limiter(&parts, &*store).await?;
        let exporter = startup::start_exporter(&parts, &metrics)?;
        let threads =
            DeliveryThreads::start(parts.deliver_on.clone()).map_err(AppError::Threads)?;
        let dispatcher = Dispatcher::start(DispatcherParts {
            store: startup::outbox(&mut parts, &store),
            sender: Arc::clone(&sender),
            functions: Arc::clone(&functions),
            auth: auth.clone(),
            routes: routes.clone(),
            clock: Arc::clone(&parts.clock),
            metrics: Arc::clone(&metrics),
            log_rate: Arc::clone(&log_rate),
            node_id,
            spans: exporter.as_ref().map(|(tracer, _)| tracer.clone()),
            max_in_flight: parts.settings.max_in_flight,
            user_agent,
            seed: parts.seed,
            deliver_on: threads.handle().clone(),
        });
        startup::expire_previous_leases(&dispatcher).await?;
        let node = Arc::new(RunningNode {
            store: store.clone(),
            keyring: Arc::clone(&keyring),
            clock: Arc::clone(&parts.clock),
            sender,
            functions,
            auth,
            routes: routes.clone(),
            dispatcher,
            jobs: JobRunner::default(),
            stopping: CancellationToken::new(),
            reloading: tokio::sync::Mutex::default(),
            reload_failed: tokio::sync::Notify::new(),
        });
        let components = Components {
            store,
            authenticator,
            metrics,
            keyring,
            node_id,
            clock_steps,
            routes,
            node,
            exporter,
            limiter,
            inboxes: InboxBoard::default(),
            log_rate,
            epoch: getrandom::u64().map_err(AppError::Randomness)?,
        };
        Self::run(parts, listener, components, threads).await
    }

    /// Starts the tasks: listener, schedule, job runner.
    async fn run(
        parts: AppParts,
        listener: TcpListener,
        components: Components,
        threads: DeliveryThreads,
    ) -> Result<Self, AppError> {
        let settings = &parts.settings;
        let address = startup::local_address(&listener, settings)?;
        let live = Feed::new(components.epoch, components.node.stopping.clone());
        let service = wiring::service(&parts, &components, live.clone(), address);
        let intake = Arc::new(wiring::intake(&parts, &components, live));
        let duties = wiring::duties(&parts, &components, Arc::clone(&intake));
        let inboxes = wiring::inboxes(&parts, &components);
        let refusals = components.refusals();
        let Components { store, metrics, node, exporter, log_rate, .. } = components;
        let operator = router::operator(service, (&metrics, &refusals), parts.origins);
        let router = RequestRouter::new(Arc::clone(&intake), operator, refusals);
        tokio::spawn(log_rate.run(node.stopping.clone()));
        let grace = Duration::from_millis(settings.shutdown_grace_ms);
        let options = startup::listener_options(settings, grace);
        let stop_server = CancellationToken::new();
        let (vital, stopping) = (VitalTasks::default(), &node.stopping);
        let job_runner = run_jobs(node.jobs.clone(), duties.clone());
        let changes = Arc::clone(&node).follow_changes();
        let inboxes = Arc::clone(&intake).drain_inboxes(inboxes, stopping.clone());
        let server = listener::serve(listener, router, options, stop_server.clone());
        let schedule = if parts.scheduled { Some(Schedule::start(&duties).await?) } else { None };
        Ok(Self {
            address,
            store,
            dispatcher: node.dispatcher.clone(),
            metrics,
            functions: Arc::clone(&node.functions),
            threads,
            intake,
            exporter: exporter.map(|(_, exporter)| exporter),
            schedule,
            job_runner: tokio::spawn(job_runner),
            connections: tokio::spawn(vital.supervised(
                "reload of the pipeline",
                stopping,
                changes,
            )),
            inboxes: tokio::spawn(vital.supervised("inbox", stopping, inboxes)),
            server: tokio::spawn(vital.supervised("listener", &stop_server, server)),
            vital,
            stop_server,
            stopping: stopping.clone(),
            duties,
            grace,
        })
    }

    /// Resolves when the database or a vital task has failed, with the cause; only a restart recovers.
    pub async fn failed(&self) -> AppError {
        tokio::select! {
            biased;
            cause = self.store.failed() => AppError::Fatal { cause },
            cause = self.dispatcher.failed() => AppError::Task { cause },
            cause = self.vital.failed() => AppError::Task { cause },
        }
    }
}
