//! What comes before a request: the event goes through its mapping's insert function, if there is one,
//! and is rendered by the mapping's revision in force.

use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::batch::Few;
use crate::domain::attempt::Outcome;
use crate::domain::document::DocumentError;
use crate::domain::error_chain;
use crate::domain::event::Event;
use crate::functions::{Function, FunctionRun};
use crate::mapping::Rendered;
use crate::outbound_auth::Authorizer;
use crate::routing::MappingRoute;

/// What was made of an event, and what that took.
pub(super) struct Prepared {
    /// The request, unsigned, or why there is none.
    pub(super) rendered: Result<Rendered, Unprepared>,
    /// What the insert function wrote.
    pub(super) console: Option<String>,
    /// How long the insert function took.
    pub(super) took: Duration,
}

/// Why there is no request to send.
pub(super) struct Unprepared {
    /// How the attempt ends.
    pub(super) outcome: Outcome,
    /// The cause in words.
    pub(super) error: String,
}

impl Shared {
    /// Makes the requests for events of one mapping, unsigned; by position. More than one go through
    /// the function's `onBatch` together, where it has one.
    pub(super) async fn prepare(&self, route: &MappingRoute, events: &[&Event]) -> Few<Prepared> {
        let Some(function) = &route.function else {
            let plain = |event: &&Event| match event.document() {
                Ok(document) => Prepared::plain(render(route, document)),
                Err(error) => Prepared::plain(Err(unrendered(&error))),
            };
            return events.iter().map(plain).collect();
        };
        let documents: Vec<_> = events.iter().map(|event| event.document()).collect();
        let given: Vec<_> = documents.iter().filter_map(|it| it.as_ref().ok().copied()).collect();
        let mut ran = self.run(route, function, given).await.into_iter();
        let after = |document: Result<_, DocumentError>| match document {
            Ok(_) => ran.next().map_or_else(
                || Prepared::plain(Err(unanswered())),
                |ran| Prepared::after(route, ran),
            ),
            Err(error) => Prepared::plain(Err(unrendered(&error))),
        };
        documents.into_iter().map(after).collect()
    }

    /// The same for one event.
    pub(super) async fn prepare_one(&self, route: &MappingRoute, event: &Event) -> Prepared {
        let prepared = self.prepare(route, &[event]).await.pop();
        prepared.unwrap_or_else(|| Prepared::plain(Err(unanswered())))
    }

    async fn run(
        &self,
        route: &MappingRoute,
        function: &Function,
        given: Vec<&Bytes>,
    ) -> Vec<FunctionRun> {
        let functions = &self.parts.functions;
        let given: Vec<Bytes> = given.into_iter().cloned().collect();
        match given.as_slice() {
            [one] => vec![functions.run(route.id, function, one.clone()).await],
            all => functions.run_batch(route.id, function, all).await,
        }
    }

    /// What an attempt of this mapping takes at most: its lease has to last so long.
    pub(super) fn attempt_time(&self, route: &MappingRoute) -> Duration {
        let function = route.function.as_ref().map(|_| self.parts.functions.max_duration());
        let token = route.settings.auth.client().map(|_| Authorizer::MAX_TIMEOUT);
        route.settings.timeout() + function.unwrap_or_default() + token.unwrap_or_default()
    }
}

impl Prepared {
    const fn plain(rendered: Result<Rendered, Unprepared>) -> Self {
        Self { rendered, console: None, took: Duration::ZERO }
    }

    fn after(route: &MappingRoute, ran: FunctionRun) -> Self {
        let rendered = match ran.event {
            Ok(document) => render(route, &document),
            Err(failure) => Err(Unprepared { outcome: failure.outcome, error: failure.message }),
        };
        Self { rendered, console: ran.console, took: ran.duration }
    }
}

/// A run that gave fewer results than it got events; none ever does.
fn unanswered() -> Unprepared {
    let error = "the function gave no result".to_owned();
    Unprepared { outcome: Outcome::FunctionTimeout, error }
}

fn render(route: &MappingRoute, document: &Bytes) -> Result<Rendered, Unprepared> {
    route.compiled().render(document).map_err(|error| unrendered(&error))
}

fn unrendered(error: &(dyn std::error::Error + 'static)) -> Unprepared {
    Unprepared { outcome: Outcome::Render, error: error_chain::display(error) }
}
