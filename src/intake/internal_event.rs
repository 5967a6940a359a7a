//! Internal events, such as alerts: accepted like a sender's, but without a write key and for one
//! destination only.

use std::sync::Arc;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::message::{Messages, RequestContext};
use super::outbox::OutboxWrite;
use super::response::IntakeError;
use super::tenant::Tenant;
use super::tracking_api::Intake;
use crate::domain::auth::DestinationPath;
use crate::domain::event::EventType;
use crate::json;
use crate::routing::SourceRoute;
use crate::store::StoreError;

impl Intake {
    /// Accepts a `track` message as an event of the destination's source, routed to this destination
    /// only. False if there is no such destination.
    ///
    /// # Errors
    /// [`StoreError`] if it was not accepted: retry with the same message.
    pub async fn accept_internal(
        self: &Arc<Self>,
        to: &DestinationPath,
        message: String,
    ) -> Result<bool, StoreError> {
        let Some(source) = self.source_with_only(to) else { return Ok(false) };
        let received_at = self.clock.moment();
        let body = Bytes::from(message);
        let value = json::parse(&body).map_err(|error| invalid(&error))?;
        let endpoint = Endpoint::Single(EventType::Track);
        let messages = Messages::of(endpoint, &body, value, self.oversized).map_err(refused)?;
        let source_id = source.id;
        let memory = self.memory.reservation(Tenant::Source(source_id));
        let message_ids = &self.message_ids;
        let context =
            RequestContext { source_id, received_at: received_at.wall, message_ids, trace: None };
        let mut write = OutboxWrite::new(source, received_at, messages.len());
        let slots = write.fill(messages.read(&context), Arc::clone(&self.dispatch));
        self.accept((write, slots), (memory, None)).await.map_err(refused)?;
        Ok(true)
    }

    /// The destination's source, reduced to this destination.
    fn source_with_only(&self, to: &DestinationPath) -> Option<Arc<SourceRoute>> {
        let routes = self.routes.current();
        let source = routes.source_named(&to.source)?;
        let destination = source.destinations.iter().find(|it| it.name == to.destination)?;
        // The service's own events do not count.
        Some(Arc::new(source.with_only(destination)))
    }
}

fn refused(refusal: IntakeError) -> StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants concern HTTP requests")]
    match refusal {
        IntakeError::DiskFull => StoreError::Full,
        IntakeError::Overloaded => StoreError::Overloaded,
        IntakeError::Unavailable(Some(error)) => error,
        other => invalid(&other),
    }
}

fn invalid(error: &dyn std::error::Error) -> StoreError {
    StoreError::Foreign { what: format!("an invalid internal event: {error}") }
}
