//! The running node: reloads a changed pipeline, runs preflight checks and test runs, reports readiness,
//! circuits. Implements the traits that `pipeline`, `service` and `maintenance`
//! define.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::delivery::{Dispatcher, TestResult};
use crate::domain::clock::Clock;
use crate::domain::error_chain;
use crate::domain::event::{Event, StoredEvent};
use crate::domain::id::MappingId;
use crate::functions::{Function, FunctionPool};
use crate::maintenance::{JobRunner, RetireSecrets};
use crate::outbound_auth::Authorizer;
use crate::pipeline::{Activation, NotActive, Preflight};
use crate::routing::{LiveRoutes, MappingRoute, Routes};
use crate::sender::Sender;
use crate::service::{Node, OpenCircuit};
use crate::settings::secrets::Keyring;
use crate::store::{OperatorStore, Pipeline, PipelineStore, ReceiverWait};

use super::error::AppError;

/// The wait before a reload that failed is retried.
const RETRY_RELOAD_AFTER: Duration = Duration::from_secs(1);

/// Builds the routes of the stored pipeline, and makes its credentials the current ones.
pub(super) async fn load_routes(
    store: &dyn PipelineStore,
    keyring: &Keyring,
    clock: &dyn Clock,
    auth: &Authorizer,
) -> Result<Routes, AppError> {
    let pipeline = store.pipeline().await.map_err(AppError::Store)?;
    let routes =
        Routes::build(&pipeline, keyring, clock.service_now()).map_err(AppError::Secret)?;
    auth.reload(&pipeline).map_err(AppError::Secret)?;
    Ok(routes)
}

pub(super) struct RunningNode {
    pub(super) store: Arc<dyn OperatorStore>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sender: Arc<Sender>,
    pub(super) functions: Arc<FunctionPool>,
    pub(super) auth: Authorizer,
    pub(super) routes: LiveRoutes,
    pub(super) dispatcher: Dispatcher,
    pub(super) jobs: JobRunner,
    pub(super) stopping: CancellationToken,
    /// Serializes reloads: an older read must not replace a newer one.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// A reload failed and is to be retried.
    pub(super) reload_failed: Notify,
}

impl RunningNode {
    async fn reload_pipeline(&self) -> Result<(), NotActive> {
        let _serialized = self.reloading.lock().await;
        match load_routes(&*self.store, &self.keyring, &*self.clock, &self.auth).await {
            Ok(routes) => {
                self.routes.swap(routes);
                self.dispatcher.reload();
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "reload failed: the previous pipeline stays active; retrying");
                self.reload_failed.notify_one();
                Err(NotActive { cause: error_chain::display(&error) })
            }
        }
    }

    /// Reloads the pipeline whenever a connection to a destination's account is lost or deliveries changed a
    /// pause, and again after a reload that failed.
    pub(super) async fn follow_changes(self: Arc<Self>) {
        let failed = async || {
            self.reload_failed.notified().await;
            tokio::time::sleep(RETRY_RELOAD_AFTER).await;
        };
        loop {
            tokio::select! {
                () = self.auth.changed() => {}
                () = self.dispatcher.pipeline_changed() => {}
                () = failed() => {}
                () = self.stopping.cancelled() => return,
            }
            // A failure is logged, and notifies this task.
            let _ = self.reload_pipeline().await;
        }
    }
}

#[async_trait]
impl Activation for RunningNode {
    async fn reload(&self) -> Result<(), NotActive> {
        self.reload_pipeline().await
    }

    fn wake(&self) {
        self.jobs.wake();
    }
}

#[async_trait]
impl Node for RunningNode {
    fn not_ready(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("the service is shutting down".to_owned());
        }
        if let Some(cause) = self.store.failure() {
            return Some(format!("the database failed, the process ends: {cause}"));
        }
        if !self.store.is_reached() {
            return Some(
                "the database cannot be reached: events are refused; deliveries in hand end and are \
                 recorded when it is back"
                    .to_owned(),
            );
        }
        let full =
            "free disk space is below min_free_disk_mib: events are refused, deliveries continue";
        (!self.store.has_room()).then(|| full.to_owned())
    }

    fn functions_failure(&self) -> Option<String> {
        self.functions.failure()
    }

    fn open_circuits(&self) -> Vec<OpenCircuit> {
        let open = self.dispatcher.open_circuits().into_iter();
        let open = open
            .map(|(mapping_id, at)| OpenCircuit { mapping_id, opened_at: self.clock.to_wall(at) });
        open.collect()
    }

    fn receiver_waits(&self) -> Vec<ReceiverWait> {
        let waits = self.dispatcher.receiver_waits().into_iter();
        waits.map(|(mapping_id, until)| ReceiverWait { mapping_id, until }).collect()
    }

    fn mapping_faults(&self) -> Vec<(MappingId, String)> {
        let routes = self.routes.current();
        let faulty = |it: &Arc<MappingRoute>| Some((it.id, it.fault.clone()?));
        routes.mappings().filter_map(faulty).collect()
    }

    fn routed(&self, mapping_id: MappingId, events: &[StoredEvent]) -> Option<Vec<usize>> {
        self.dispatcher.routed(mapping_id, events)
    }

    fn end_receiver_waits(&self, mappings: &[MappingId]) -> bool {
        self.dispatcher.end_receiver_waits(mappings)
    }

    async fn test_mapping(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult> {
        self.dispatcher.test(mapping_id, event, send).await
    }

    async fn preview_mapping(
        &self,
        pipeline: &Pipeline,
        mapping_id: MappingId,
        event: &Event,
    ) -> Option<TestResult> {
        let routes = Routes::build(pipeline, &*self.keyring, self.clock.service_now());
        let routes = routes
            .inspect_err(|error| tracing::error!(%error, "no preview: the routes cannot be built"))
            .ok()?;
        Some(self.dispatcher.preview(routes.mapping(mapping_id)?, event).await)
    }
}

#[async_trait]
impl Preflight for RunningNode {
    async fn check_destination(&self, url: &Url) -> Result<(), String> {
        match self.sender.check_destination(url).await {
            Ok(None) => Ok(()),
            Ok(Some(unresolved)) => {
                // A URL may have a secret in its path or query.
                let host = url.host_str().unwrap_or_default();
                tracing::warn!(host, %unresolved, "saved although the host name does not resolve yet");
                Ok(())
            }
            Err(refused) => Err(refused.to_string()),
        }
    }

    async fn check_function(&self, function: &Function) -> Result<(), String> {
        self.functions.check(function).await
    }
}

#[async_trait]
impl RetireSecrets for RunningNode {
    async fn retire_secrets(&self) {
        let retires_at = self.routes.current().secret_retires_at;
        if retires_at.is_some_and(|at| at <= self.clock.service_now()) {
            // A failure is logged, and the reload is retried.
            let _ = self.reload_pipeline().await;
        }
    }
}
