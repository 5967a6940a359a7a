//! The renderer: runs an event through its mapping's insert function, if there is one, and renders the
//! request by the mapping's current revision.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::OneOrMany;
use super::context::Context;
use crate::domain::attempt::Outcome;
use crate::domain::document::DocumentError;
use crate::domain::error_chain;
use crate::domain::event::Event;
use crate::functions::{Function, FunctionRun, FunctionSlot};
use crate::mapping::Rendered;
use crate::outbound_auth::Authorizer;
use crate::routing::MappingRoute;
use crate::sender::LocalResource;

/// A rendered event, or why it could not be rendered.
pub(super) struct Prepared {
    /// The unsigned request.
    pub(super) rendered: Result<Rendered, PrepareError>,
    /// The insert function's console output.
    pub(super) console: Option<String>,
    /// How long the insert function ran.
    pub(super) function_time: Duration,
}

/// Why an event has no request.
pub(super) struct PrepareError {
    /// The attempt's outcome.
    pub(super) outcome: Outcome,
    /// The error with its causes.
    pub(super) error: String,
    /// What this machine lacked: no attempt was made.
    pub(super) local: Option<LocalResource>,
}

impl PrepareError {
    /// An error that is not this machine's.
    pub(super) const fn new(outcome: Outcome, error: String) -> Self {
        Self { outcome, error, local: None }
    }
}

impl Context {
    /// Renders events of one mapping, in order, unsigned; none where the mapping's function had no turn for an
    /// event. With batching, events share a call of the function's `onBatch` where it has one. Beside it the
    /// duration of the function's call.
    pub(super) async fn prepare(
        &self,
        route: &MappingRoute,
        events: &[&Event],
        worker: Option<FunctionSlot>,
    ) -> (OneOrMany<Option<Prepared>>, Option<Duration>) {
        let Some(function) = &route.function else {
            let render_event = |event: &&Event| match event.document() {
                Ok(document) => Some(Prepared::without_function(render(route, document))),
                Err(error) => Some(Prepared::without_function(Err(render_error(&error)))),
            };
            return (events.iter().map(render_event).collect(), None);
        };
        let documents: Vec<_> = events.iter().map(|event| event.document()).collect();
        let inputs: Vec<_> =
            documents.iter().filter_map(|it| it.as_ref().ok().copied().cloned()).collect();
        let started = Instant::now();
        let mut runs = self.run(route, function, &inputs, worker).await.into_iter();
        let duration = started.elapsed();
        let prepare = |document: Result<_, DocumentError>| match document {
            Ok(_) => runs.next().flatten().map(|run| {
                self.parts.metrics.function_run_seconds.observe(run.duration.as_secs_f64());
                Prepared::from_run(route, run)
            }),
            Err(error) => Some(Prepared::without_function(Err(render_error(&error)))),
        };
        (documents.into_iter().map(prepare).collect(), Some(duration))
    }

    /// Renders one event outside a delivery: it waits for a worker.
    pub(super) async fn prepare_one(&self, route: &MappingRoute, event: &Event) -> Prepared {
        match (event.document(), &route.function) {
            (Err(error), _) => Prepared::without_function(Err(render_error(&error))),
            (Ok(document), None) => Prepared::without_function(render(route, document)),
            (Ok(document), Some(function)) => {
                let run = self.parts.functions.run(route.id, function, document.clone()).await;
                Prepared::from_run(route, run)
            }
        }
    }

    /// In the worker that was taken for it. Without one, as when the mapping has just been given a function, in
    /// one that is free: deliveries do not wait for it here.
    async fn run(
        &self,
        route: &MappingRoute,
        function: &Function,
        inputs: &[Bytes],
        worker: Option<FunctionSlot>,
    ) -> Vec<Option<FunctionRun>> {
        let functions = &self.parts.functions;
        let Some(worker) = worker.or_else(|| functions.try_slot(route.id)) else {
            return Vec::new();
        };
        if route.batching.is_some() && inputs.len() > 1 {
            functions.run_together(&worker, function, inputs).await
        } else {
            functions.run_each(&worker, function, inputs).await
        }
    }

    /// The maximum duration of an attempt of this mapping; a lease must outlast it.
    pub(super) fn attempt_time(&self, route: &MappingRoute) -> Duration {
        let function = route.function.as_ref().map(|_| self.parts.functions.max_duration());
        let token = route.settings.auth.client().map(|_| Authorizer::MAX_TIMEOUT);
        route.timeout() + function.unwrap_or_default() + token.unwrap_or_default()
    }
}

impl Prepared {
    const fn without_function(rendered: Result<Rendered, PrepareError>) -> Self {
        Self { rendered, console: None, function_time: Duration::ZERO }
    }

    fn from_run(route: &MappingRoute, ran: FunctionRun) -> Self {
        let rendered = match ran.event {
            Ok(document) => render(route, &document),
            Err(failure) => Err(PrepareError::new(failure.outcome, failure.message)),
        };
        Self { rendered, console: ran.console, function_time: ran.duration }
    }
}

fn render(route: &MappingRoute, document: &Bytes) -> Result<Rendered, PrepareError> {
    route.compiled().render(document).map_err(|error| render_error(&error))
}

fn render_error(error: &(dyn std::error::Error + 'static)) -> PrepareError {
    PrepareError::new(Outcome::Render, error_chain::display(error))
}
