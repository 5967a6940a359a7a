//! What the admin API and the duties ask of the running process: take a changed pipeline into use,
//! wake what waits, say whether all is well.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::delivery::{Dispatcher, TestResult};
use crate::domain::clock::Clock;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::functions::{Function, FunctionPool};
use crate::maintenance::{JobRunner, RetireSecrets};
use crate::outbound_auth::Authorizer;
use crate::process::{OpenCircuit, Process};
use crate::routing::{LiveRoutes, OpenSecret, Routes};
use crate::sender::Sender;
use crate::settings::secrets::{Keyring, Purpose, SecretError};
use crate::store::{Pipeline, SealedSecret, StatisticsRow, Store};

use super::AppError;

impl OpenSecret for Keyring {
    type Error = SecretError;

    fn open_secret(
        &self,
        sealed: &SealedSecret,
        purpose: Purpose,
    ) -> Result<SecretString, SecretError> {
        self.open(sealed, purpose)
    }
}

/// The routes of what the store holds now; their tokens are in use when they are returned.
pub(super) async fn load_routes(
    store: &dyn Store,
    keyring: &Keyring,
    clock: &dyn Clock,
    auth: &Authorizer,
) -> Result<Routes, AppError> {
    let pipeline = store.pipeline().await.map_err(AppError::Store)?;
    let routes = Routes::build(&pipeline, keyring, clock.now()).map_err(AppError::Secret)?;
    auth.reload(&pipeline).map_err(AppError::Secret)?;
    Ok(routes)
}

pub(super) struct Running {
    pub(super) store: Arc<dyn Store>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sender: Arc<Sender>,
    pub(super) functions: Arc<FunctionPool>,
    pub(super) auth: Authorizer,
    pub(super) routes: LiveRoutes,
    pub(super) dispatcher: Dispatcher,
    pub(super) jobs: JobRunner,
    pub(super) stopping: CancellationToken,
    /// One at a time: what was read earlier must not be put in force later.
    pub(super) taking_over: tokio::sync::Mutex<()>,
}

impl Running {
    async fn take_over_pipeline(&self) {
        let _one_at_a_time = self.taking_over.lock().await;
        match load_routes(&*self.store, &self.keyring, &*self.clock, &self.auth).await {
            Ok(routes) => {
                self.routes.swap(routes);
                self.dispatcher.reload();
            }
            Err(error) => tracing::error!(%error, "the pipeline in use stays the one before"),
        }
    }
}

impl Running {
    /// Takes the pipeline over again whenever a connection was lost.
    pub(super) async fn follow_connections(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.auth.changed() => self.take_over_pipeline().await,
                () = self.stopping.cancelled() => return,
            }
        }
    }
}

#[async_trait]
impl Process for Running {
    async fn reload(&self) {
        self.take_over_pipeline().await;
    }

    fn wake(&self) {
        self.jobs.wake();
    }

    fn not_ready(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("the service is stopping".to_owned());
        }
        let full = "the free disk space is below the floor: events are refused, deliveries go on";
        (!self.store.has_room()).then(|| full.to_owned())
    }

    fn open_circuits(&self) -> Vec<OpenCircuit> {
        let open = self.dispatcher.open_circuits().into_iter();
        open.map(|(mapping_id, opened_at)| OpenCircuit { mapping_id, opened_at }).collect()
    }

    fn unstored_statistics(&self) -> Vec<StatisticsRow> {
        self.dispatcher.unstored_statistics()
    }

    async fn test_mapping(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult> {
        self.dispatcher.test(mapping_id, event, send).await
    }

    async fn try_mapping(
        &self,
        pipeline: &Pipeline,
        mapping_id: MappingId,
        event: &Event,
    ) -> Option<TestResult> {
        let routes = Routes::build(pipeline, &*self.keyring, self.clock.now());
        let routes = routes.inspect_err(|error| tracing::error!(%error, "not tried")).ok()?;
        Some(self.dispatcher.preview(routes.mapping(mapping_id)?, event).await)
    }

    async fn check_destination(&self, url: &Url) -> Result<(), String> {
        match self.sender.check_destination(url).await {
            Ok(None) => Ok(()),
            Ok(Some(unresolved)) => {
                tracing::warn!(%url, %unresolved, "saved all the same: it may resolve later");
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
impl RetireSecrets for Running {
    async fn retire_secrets(&self) {
        let retires_at = self.routes.current().secret_retires_at;
        if retires_at.is_some_and(|at| at <= self.clock.now()) {
            self.take_over_pipeline().await;
        }
    }
}
