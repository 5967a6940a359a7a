//! Events: list, and one with its deliveries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::DeliveryView;
use super::event_view::EventView;
use super::filter::{self, Condition};
use super::page::Page;
use super::scope::{visible_destinations, visible_sources};
use super::search::Search;
use super::{Service, ServiceError};
use crate::domain::auth::Caller;
use crate::domain::event::StoredEvent;
use crate::domain::id::{EventId, Noun, PublicId};
use crate::store::{Cursor, DeliveryQuery};

/// The maximum number of deliveries in an event; the list of deliveries has all.
const DELIVERIES_SHOWN: u32 = 1_000;

/// The number of events whose documents are checked at a time.
const CHECKED: u32 = 200;

/// An event with its deliveries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    pub event: EventView,
    /// Its deliveries.
    pub deliveries: Vec<DeliveryView>,
}

impl Service {
    /// A page of the events that match, newest first.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn events(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<EventView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let conditions = filter::absolute(conditions, self.clock.now());
        let (mut query, of_document) = filter::events(&conditions, &pipeline)?;
        query.among = visible_sources(caller, &pipeline);
        let limit = query.limit;
        let at = |it: &StoredEvent| Cursor { at: it.event.received_at, key: it.id.0 };
        // One row beyond the limit shows whether there is a next page.
        let mut search = Search::of(limit + 1);
        query.limit = limit + 1;
        loop {
            if !of_document.are_none() {
                query.limit = query.limit.max(CHECKED);
            }
            let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
            let mut listed = self.store.events(query.clone()).await?;
            if listed.rows.len() >= wanted {
                listed.looked_to = listed.rows.last().map(at);
            }
            listed.rows.retain(|stored| of_document.hold(&stored.event));
            let Some(next) = search.add(listed) else { break };
            (query.before, query.limit) = (Some(next.before), next.limit);
        }
        let found = search.end();
        Ok(Page::of(found, limit, Noun::Event, at, |event| EventView::of(event, &pipeline)))
    }

    /// An event by its id.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn event(&self, caller: &Caller, text: &str) -> Result<EventDetail, ServiceError> {
        let id = PublicId::parse_as(text, Noun::Event)
            .map_err(|error| ServiceError::Malformed(error.to_string()))?;
        let pipeline = self.pipeline(caller).await?;
        let seen = visible_sources(caller, &pipeline);
        let stored = self.store.event(EventId(id.key)).await?;
        let stored = stored
            .filter(|stored| stored.event.received_at == id.created_at)
            .filter(|stored| seen.is_none_or(|ids| ids.contains(&stored.event.source_id)))
            .ok_or_else(|| ServiceError::Missing(format!("event {text}")))?;
        let query = DeliveryQuery {
            event_id: Some(stored.id),
            among: visible_destinations(caller, &pipeline),
            limit: DELIVERIES_SHOWN,
            ..DeliveryQuery::default()
        };
        let deliveries = self.store.deliveries(query).await?;
        Ok(EventDetail {
            event: EventView::of(&stored, &pipeline),
            deliveries: deliveries
                .rows
                .iter()
                .map(|row| DeliveryView::of(row, &pipeline, &*self.clock))
                .collect(),
        })
    }
}
