//! The renderer: runs an event through its mapping's insert function, if there is one, and renders the
//! request by the mapping's current revision.

use std::time::Duration;

use bytes::Bytes;

use super::batch::OneOrMany;
use super::context::Context;
use crate::domain::attempt::Outcome;
use crate::domain::document::DocumentError;
use crate::domain::error_chain;
use crate::domain::event::Event;
use crate::functions::{Function, FunctionRun};
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
    /// Renders events of one mapping, in order, unsigned. Several events share a call of the function's
    /// `onBatch` where it has one.
    pub(super) async fn prepare(
        &self,
        route: &MappingRoute,
        events: &[&Event],
    ) -> OneOrMany<Prepared> {
        let Some(function) = &route.function else {
            let render_event = |event: &&Event| match event.document() {
                Ok(document) => Prepared::without_function(render(route, document)),
                Err(error) => Prepared::without_function(Err(render_error(&error))),
            };
            return events.iter().map(render_event).collect();
        };
        let documents: Vec<_> = events.iter().map(|event| event.document()).collect();
        let inputs: Vec<_> = documents.iter().filter_map(|it| it.as_ref().ok().copied()).collect();
        let mut ran = self.run(route, function, inputs).await.into_iter();
        let prepare = |document: Result<_, DocumentError>| match document {
            Ok(_) => ran.next().map_or_else(
                || Prepared::without_function(Err(no_result())),
                |ran| Prepared::from_run(route, ran),
            ),
            Err(error) => Prepared::without_function(Err(render_error(&error))),
        };
        documents.into_iter().map(prepare).collect()
    }

    /// Renders one event.
    pub(super) async fn prepare_one(&self, route: &MappingRoute, event: &Event) -> Prepared {
        let prepared = self.prepare(route, &[event]).await.pop();
        prepared.unwrap_or_else(|| Prepared::without_function(Err(no_result())))
    }

    async fn run(
        &self,
        route: &MappingRoute,
        function: &Function,
        inputs: Vec<&Bytes>,
    ) -> Vec<FunctionRun> {
        let functions = &self.parts.functions;
        let inputs: Vec<Bytes> = inputs.into_iter().cloned().collect();
        match inputs.as_slice() {
            [one] => vec![functions.run(route.id, function, one.clone()).await],
            all => functions.run_batch(route.id, function, all).await,
        }
    }

    /// The maximum duration of an attempt of this mapping; a lease must outlast it.
    pub(super) fn attempt_time(&self, route: &MappingRoute) -> Duration {
        let function = route.function.as_ref().map(|_| self.parts.functions.max_duration());
        let token = route.settings.auth.client().map(|_| Authorizer::MAX_TIMEOUT);
        route.settings.timeout() + function.unwrap_or_default() + token.unwrap_or_default()
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

/// For a run with fewer results than events, which a worker never gives.
fn no_result() -> PrepareError {
    let error = "the function gave no result".to_owned();
    PrepareError::new(Outcome::FunctionTimeout, error)
}

fn render(route: &MappingRoute, document: &Bytes) -> Result<Rendered, PrepareError> {
    route.compiled().render(document).map_err(|error| render_error(&error))
}

fn render_error(error: &(dyn std::error::Error + 'static)) -> PrepareError {
    PrepareError::new(Outcome::Render, error_chain::display(error))
}
