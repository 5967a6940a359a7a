//! What comes before a request: the event is rendered by its mapping's revision in force.

use super::Shared;
use crate::domain::attempt::Outcome;
use crate::domain::event::Event;
use crate::mapping::Rendered;
use crate::route::MappingRoute;

/// Why there is no request to send.
pub(super) struct Unprepared {
    /// How the attempt ends.
    pub(super) outcome: Outcome,
    /// The cause in words.
    pub(super) error: String,
}

impl Shared {
    /// Makes the request, unsigned.
    pub(super) async fn prepare(
        &self,
        route: &MappingRoute,
        event: &Event,
    ) -> Result<Rendered, Unprepared> {
        let unrendered = |error: &dyn std::error::Error| Unprepared {
            outcome: Outcome::Render,
            error: words(error),
        };
        let document = event.document().map_err(|error| unrendered(&error))?;
        route.compiled().render(document).map_err(|error| unrendered(&error))
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
