//! Events: lists by filter, and one with its deliveries.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::deliveries::{DeliveryView, Page, among};
use super::filter::{self, Condition};
use super::{Refusal, Service};
use crate::domain::auth::Caller;
use crate::domain::event::{Event, StoredEvent};
use crate::domain::id::{EventId, Noun, PublicId, SourceId};
use crate::live::LiveEvent;
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
        let source = pipeline.sources.iter().find(|source| source.id == stored.event.source_id);
        Self::new(stored.id, &stored.event, source.map(|source| source.name.clone()))
    }

    pub(super) fn live(live: &LiveEvent) -> Self {
        Self::new(live.id, &live.event, Some(live.source.to_string()))
    }

    fn new(id: EventId, event: &Event, source: Option<String>) -> Self {
        Self {
            id: PublicId::new(Noun::Event, event.received_at, id.0).to_string(),
            source,
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

impl Service {
    /// A page of the events that meet the conditions, newest first.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn events(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<EventView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let mut query = filter::events(conditions, &pipeline)?;
        query.among = sources_among(caller, &pipeline);
        let limit = query.limit;
        // One more than asked for tells whether there is a next page.
        query.limit += 1;
        let listed = self.store.events(query).await?;
        let at = |it: &StoredEvent| (it.id.0, it.event.received_at);
        Ok(Page::of(listed, limit, Noun::Event, at, |event| EventView::of(event, &pipeline)))
    }

    /// An event by its id.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn event(&self, caller: &Caller, text: &str) -> Result<EventDetail, Refusal> {
        let id = PublicId::parse_as(text, Noun::Event)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let pipeline = self.pipeline(caller).await?;
        let seen = sources_among(caller, &pipeline);
        let stored = self.store.event(EventId(id.key)).await?;
        let stored = stored
            .filter(|stored| stored.event.received_at == id.created_at)
            .filter(|stored| seen.is_none_or(|ids| ids.contains(&stored.event.source_id)))
            .ok_or_else(|| Refusal::Missing(format!("event {text}")))?;
        let query = DeliveryQuery {
            event_id: Some(stored.id),
            among: among(caller, &pipeline),
            limit: DELIVERIES_SHOWN,
            ..DeliveryQuery::default()
        };
        let deliveries = self.store.deliveries(query).await?;
        Ok(EventDetail {
            event: EventView::of(&stored, &pipeline),
            deliveries: deliveries
                .rows
                .iter()
                .map(|row| DeliveryView::of(row, &pipeline))
                .collect(),
        })
    }
}

/// The sources that a caller's events are among; none: all, also those of removed ones.
pub(super) fn sources_among(caller: &Caller, pipeline: &Pipeline) -> Option<Vec<SourceId>> {
    caller.scope.limits()?;
    Some(pipeline.sources.iter().map(|it| it.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_shown_as_text() {
        assert_eq!(raw(br#"{"a":1.50}"#).get(), r#"{"a":1.50}"#, "byte for byte");
        assert_eq!(raw(b"{\"a\":").get(), r#""{\"a\":""#);
        assert_eq!(raw(b"\xff").get(), "\"\u{fffd}\"");
    }
}
