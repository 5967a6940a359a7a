//! Which kept events a backfill makes deliveries of: those that the mapping's current revision matches, by the
//! rules of acceptance.

use super::dispatcher::Dispatcher;
use crate::domain::event::StoredEvent;
use crate::domain::id::MappingId;
use crate::json;

impl Dispatcher {
    /// The positions of the events that are routed to a mapping; none when there is no such mapping.
    #[must_use]
    pub fn routed(&self, mapping_id: MappingId, events: &[StoredEvent]) -> Option<Vec<usize>> {
        let routes = self.context.parts.routes.current();
        let route = routes.mapping(mapping_id)?;
        let is_routed = |it: &StoredEvent| {
            let document = it.event.document().ok().and_then(|bytes| json::parse(bytes).ok());
            document.is_some_and(|document| route.routes(&document))
        };
        let numbered = events.iter().enumerate().filter(|(_, it)| is_routed(it));
        Some(numbered.map(|(at, _)| at).collect())
    }
}
