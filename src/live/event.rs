//! Events as they are accepted: what is told of one, and which ones somebody wants to see.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::event::{Event, EventType};
use crate::domain::id::{EventId, Noun, PublicId};

/// An event that has just been accepted, or kept as rejected.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// The key.
    pub id: EventId,
    /// Its source's name.
    pub source: Arc<str>,
    /// The event.
    pub event: Arc<Event>,
}

/// Which events somebody wants to see; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of the source with this name.
    pub source: Option<String>,
    /// Of this type.
    pub kind: Option<EventType>,
    /// With this text somewhere in the message, whatever its case. In small letters.
    text: Option<String>,
}

impl EventFilter {
    /// A filter; an empty text stands for any.
    #[must_use]
    pub fn new(source: Option<String>, kind: Option<EventType>, text: Option<&str>) -> Self {
        let text = text.filter(|text| !text.is_empty()).map(str::to_lowercase);
        Self { source, kind, text }
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, live: &LiveEvent) -> bool {
        self.source.as_deref().is_none_or(|source| source == &*live.source)
            && self.kind.is_none_or(|kind| live.event.kind == Some(kind))
            && self.text.as_ref().is_none_or(|text| {
                String::from_utf8_lossy(&live.event.body).to_lowercase().contains(text.as_str())
            })
    }
}

/// An event as it is shown live. Its fields are those of an event in a list.
#[derive(Serialize)]
struct View<'a> {
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    name: Option<&'a str>,
    user_id: Option<&'a str>,
    message_id: &'a str,
    received_at: String,
    rejection: Option<&'a str>,
    body: Body<'a>,
}

/// The message as it came; a text when it is not JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(String),
}

impl<'a> Body<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        serde_json::from_slice(bytes)
            .map_or_else(|_| Self::Text(String::from_utf8_lossy(bytes).into_owned()), Self::Json)
    }
}

impl LiveEvent {
    /// As JSON, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let event = &*self.event;
        let view = View {
            id: PublicId::new(Noun::Event, event.received_at, self.id.0).to_string(),
            source: &self.source,
            kind: event.kind.map(EventType::as_str),
            name: event.name.as_deref(),
            user_id: event.user_id.as_deref(),
            message_id: &event.message_id,
            received_at: event.received_at.to_iso(),
            rejection: event.rejection.as_deref(),
            body: Body::of(&event.body),
        };
        // Nothing in it can fail to be written. Line ends that are not escaped stand between the
        // message's tokens, where a blank says the same.
        serde_json::to_string(&view).unwrap_or_default().replace(['\r', '\n'], " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::id::SourceId;

    fn live(body: &'static [u8]) -> LiveEvent {
        LiveEvent {
            id: EventId(7),
            source: "website".into(),
            event: Arc::new(Event {
                source_id: SourceId(1),
                kind: Some(EventType::Track),
                message_id: "m1".to_owned(),
                received_at: Timestamp::from_micros(1_800_000_000_000_000),
                name: Some("Signed Up".to_owned()),
                user_id: None,
                body: bytes::Bytes::from_static(body),
                envelope: None,
                rejection: None,
                trace: None,
                document: std::sync::OnceLock::new(),
            }),
        }
    }

    #[test]
    fn a_filter_wants_what_meets_every_condition() {
        let event = live(br#"{"event":"Signed Up","email":"ADA@Example.com"}"#);
        let filter = |source: Option<&str>, kind, text| {
            EventFilter::new(source.map(str::to_owned), kind, text).wants(&event)
        };
        assert!(filter(None, None, None));
        assert!(filter(Some("website"), Some(EventType::Track), Some("ada@example")));
        assert!(filter(None, None, Some("")));
        assert!(!filter(Some("other"), None, None));
        assert!(!filter(None, Some(EventType::Page), None));
        assert!(!filter(None, None, Some("grace")));
    }

    #[test]
    fn what_is_no_json_is_shown_as_text() {
        let shown = |body| -> serde_json::Value {
            serde_json::from_str(&live(body).to_json()).expect("JSON")
        };
        assert_eq!(shown(br#"{"a":1.50}"#)["body"]["a"], 1.5);
        assert_eq!(shown(b"{\"a\":")["body"], "{\"a\":");
        assert_eq!(shown(b"\xff")["body"], "\u{fffd}");
        assert!(live(br#"{"a":1.50}"#).to_json().contains("1.50"), "byte for byte");
        assert!(live(b"{\r\n\"a\":\"x\\r\"\n}").to_json().contains(r#"{  "a":"x\r" }"#));
    }
}
