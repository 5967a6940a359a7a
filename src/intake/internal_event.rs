//! Events of the service's own: accepted as anyone's, but without a write key, and for one destination.

use std::sync::Arc;

use bytes::Bytes;

use super::Intake;
use super::answer::Refusal;
use super::call::Call;
use super::message::{Messages, Reception};
use super::plan::Plan;
use crate::domain::auth::DestinationPath;
use crate::domain::event::EventType;
use crate::json;
use crate::routing::SourceRoute;
use crate::store::StoreError;

impl Intake {
    /// Accepts a `track` message as an event of the destination's source that goes to no other
    /// destination. False when there is no such destination.
    ///
    /// # Errors
    /// [`StoreError`] when it was not accepted: try again, with the same message.
    pub async fn accept_own(
        self: &Arc<Self>,
        to: &DestinationPath,
        message: String,
    ) -> Result<bool, StoreError> {
        let Some(source) = self.only(to) else { return Ok(false) };
        let received_at = self.clock.now();
        let body = Bytes::from(message);
        let value = json::parse(&body).map_err(|error| unlike_any(&error))?;
        let call = Call::Single(EventType::Track);
        let messages = Messages::of(call, &body, value).map_err(refused)?;
        let source_id = source.id;
        let message_ids = &self.message_ids;
        let reception = Reception { source_id, received_at, message_ids, trace: None };
        let mut plan = Plan::new(source, received_at, messages.len());
        let reserved = plan.fill(messages.read(&reception), Arc::clone(&self.dispatch));
        self.accept((plan, reserved), self.held.account()).await.map_err(refused)?;
        Ok(true)
    }

    /// The source of a destination, as if it had no other.
    fn only(&self, to: &DestinationPath) -> Option<Arc<SourceRoute>> {
        let routes = self.routes.current();
        let source = routes.source_named(&to.source)?;
        let destination = source.destinations.iter().find(|it| it.name == to.destination)?;
        Some(Arc::new(SourceRoute {
            id: source.id,
            name: source.name.clone(),
            enabled: source.enabled,
            destinations: vec![Arc::clone(destination)],
        }))
    }
}

fn refused(refusal: Refusal) -> StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are of requests, which this is not"
    )]
    match refusal {
        Refusal::DiskFull => StoreError::Full,
        Refusal::Overloaded => StoreError::Overloaded,
        Refusal::Unavailable(Some(error)) => error,
        other => unlike_any(&other),
    }
}

fn unlike_any(error: &dyn std::error::Error) -> StoreError {
    StoreError::Foreign { what: format!("an event of its own that it refuses: {error}") }
}
