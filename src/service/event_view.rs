//! An event as the API returns it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::event::{Event, StoredEvent};
use crate::domain::id::{EventId, Noun, PublicId};
use crate::live::LiveEvent;
use crate::store::Pipeline;

/// An event. Times are RFC 3339, UTC.
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
    /// The sender's messageId.
    pub message_id: String,
    /// When it was accepted.
    pub received_at: String,
    /// Why it was rejected; none for an accepted event.
    pub rejection: Option<String>,
    /// The message as received; a string when it is not JSON.
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
}

impl EventView {
    pub(super) fn of(stored: &StoredEvent, pipeline: &Pipeline) -> Self {
        let source = pipeline.sources.iter().find(|source| source.id == stored.event.source_id);
        Self::new(stored.id, &stored.event, source.map(|source| source.name.clone()))
    }

    /// The view of a live event.
    #[must_use]
    pub fn live(live: &LiveEvent) -> Self {
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

/// The body as JSON; invalid JSON becomes a string.
fn raw(body: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(body).into_owned();
    RawValue::from_string(text.clone()).unwrap_or_else(|_not_json| {
        serde_json::value::to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_json_is_shown_as_a_string() {
        assert_eq!(raw(br#"{"a":1.50}"#).get(), r#"{"a":1.50}"#, "byte for byte");
        assert_eq!(raw(b"{\"a\":").get(), r#""{\"a\":""#);
        assert_eq!(raw(b"\xff").get(), "\"\u{fffd}\"");
    }
}
