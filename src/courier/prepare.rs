//! What comes before a request: the event goes through its mapping's insert function, if there is one,
//! and is rendered by the mapping's revision in force.

use std::borrow::Cow;
use std::time::Duration;

use super::Shared;
use crate::auth::Auth;
use crate::domain::attempt::Outcome;
use crate::domain::event::Event;
use crate::mapping::Rendered;
use crate::route::MappingRoute;

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
    /// Makes the request, unsigned.
    pub(super) async fn prepare(&self, route: &MappingRoute, event: &Event) -> Prepared {
        let (mut console, mut took) = (None, Duration::ZERO);
        let unrendered = |error: &dyn std::error::Error| Unprepared {
            outcome: Outcome::Render,
            error: words(error),
        };
        let render =
            |document: &_| route.compiled().render(document).map_err(|error| unrendered(&error));
        let document = match (event.document(), &route.function) {
            (Err(error), _) => Err(unrendered(&error)),
            (Ok(document), None) => Ok(Cow::Borrowed(document)),
            (Ok(document), Some(function)) => {
                let ran = self.parts.functions.run(route.id, function, document.clone()).await;
                (console, took) = (ran.console, ran.took);
                ran.made.map(Cow::Owned).map_err(|failure| Unprepared {
                    outcome: failure.outcome,
                    error: failure.words,
                })
            }
        };
        Prepared { rendered: document.and_then(|it| render(&it)), console, took }
    }

    /// What an attempt of this mapping takes at most: its lease has to last so long.
    pub(super) fn attempt_time(&self, route: &MappingRoute) -> Duration {
        let function = route.function.as_ref().map(|_| self.parts.functions.longest());
        let token = route.settings.auth.client().map(|_| Auth::LONGEST);
        route.settings.timeout() + function.unwrap_or_default() + token.unwrap_or_default()
    }
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        words.push_str(": ");
        words.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    words
}
