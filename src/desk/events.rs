//! Events: lists by filter, and one with its deliveries.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::deliveries::{DeliveryView, Page, page};
use super::filter::{self, Condition};
use super::{Desk, Refusal};
use crate::domain::event::StoredEvent;
use crate::domain::id::{EventId, Noun, PublicId};
use crate::store::{DeliveryQuery, Pipeline};

/// Deliveries shown with their event at most; the list of deliveries has them all.
const DELIVERIES_SHOWN: u32 = 1_000;

/// An event as it is shown. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// Its source's name; none when that was removed.
    pub source: Option<String>,
    /// Its type; none for a rejected message whose type is unknown.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its `userId`.
    pub user_id: Option<String>,
    /// The sender's id for it.
    pub message_id: String,
    /// When it was accepted.
    pub received_at: String,
    /// Why it was not routed; none for an event that was.
    pub rejection: Option<String>,
    /// The message as it came; a text when it is not JSON.
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
}

/// An event with its deliveries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// The event.
    pub event: EventView,
    /// Its deliveries.
    pub deliveries: Vec<DeliveryView>,
}

impl EventView {
    pub(super) fn of(stored: &StoredEvent, pipeline: &Pipeline) -> Self {
        let event = &stored.event;
        let source = pipeline.sources.iter().find(|source| source.id == event.source_id);
        Self {
            id: PublicId::new(Noun::Event, event.received_at, stored.id.0).to_string(),
            source: source.map(|source| source.name.clone()),
            kind: event.kind.map(|kind| kind.as_str().to_owned()),
            name: event.name.clone(),
            user_id: event.user_id.clone(),
            message_id: event.message_id.clone(),
            received_at: event.received_at.to_iso(),
            rejection: event.rejection.clone(),
            body: raw(&event.body),
        }
    }
}

/// The message's own JSON; as a JSON string when it is none.
fn raw(body: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body).into_owned();
    RawValue::from_string(text.clone()).unwrap_or_else(|_not_json| {
        serde_json::value::to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
    })
}

impl Desk {
    /// A page of the events that meet the conditions, newest first.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn events(&self, conditions: &[Condition]) -> Result<Page<EventView>, Refusal> {
        let pipeline = self.store.pipeline().await?;
        let mut query = filter::events(conditions, &pipeline)?;
        let limit = query.limit as usize;
        // One more than asked for tells whether there is a next page.
        query.limit += 1;
        let events = self.store.events(query).await?;
        let views = events.iter().map(|event| EventView::of(event, &pipeline)).collect();
        Ok(page(views, limit, |view| &view.id))
    }

    /// An event by its id.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn event(&self, text: &str) -> Result<EventDetail, Refusal> {
        let id = PublicId::parse_as(text, Noun::Event)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let stored = self
            .store
            .event(EventId(id.key))
            .await?
            .filter(|stored| stored.event.received_at == id.created_at)
            .ok_or_else(|| Refusal::Missing(format!("event {text}")))?;
        let pipeline = self.store.pipeline().await?;
        let query = DeliveryQuery {
            event_id: Some(stored.id),
            limit: DELIVERIES_SHOWN,
            ..DeliveryQuery::default()
        };
        let deliveries = self.store.deliveries(query).await?;
        Ok(EventDetail {
            event: EventView::of(&stored, &pipeline),
            deliveries: deliveries.iter().map(|row| DeliveryView::of(row, &pipeline)).collect(),
        })
    }
}
