//! The item of the live event feed, and the filter that a subscriber applies to it.

use std::sync::Arc;

use crate::domain::event::{Event, EventType};
use crate::domain::id::EventId;

/// An event that intake has just committed, accepted or rejected.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// The event's id.
    pub id: EventId,
    /// Its source's name.
    pub source: Arc<str>,
    /// The event.
    pub event: Arc<Event>,
}

/// Conditions on live events; an event must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The source's name.
    pub source: Option<String>,
    /// The event's type.
    pub kind: Option<EventType>,
    /// Text that the message must contain, compared case-insensitively; stored in lower case.
    text: Option<String>,
}

impl EventFilter {
    /// A filter; an empty text matches everything.
    #[must_use]
    pub fn new(source: Option<String>, kind: Option<EventType>, text: Option<&str>) -> Self {
        let text = text.filter(|text| !text.is_empty()).map(str::to_lowercase);
        Self { source, kind, text }
    }

    /// Whether an event meets every condition.
    #[must_use]
    pub fn matches(&self, live: &LiveEvent) -> bool {
        self.source.as_deref().is_none_or(|source| source == &*live.source)
            && self.kind.is_none_or(|kind| live.event.kind == Some(kind))
            && self.text.as_ref().is_none_or(|text| {
                String::from_utf8_lossy(&live.event.body).to_lowercase().contains(text.as_str())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
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
                document: crate::domain::event::Document::default(),
            }),
        }
    }

    #[test]
    fn a_filter_matches_events_that_meet_every_condition() {
        let event = live(br#"{"event":"Signed Up","email":"ADA@Example.com"}"#);
        let filter = |source: Option<&str>, kind, text| {
            EventFilter::new(source.map(str::to_owned), kind, text).matches(&event)
        };
        assert!(filter(None, None, None));
        assert!(filter(Some("website"), Some(EventType::Track), Some("ada@example")));
        assert!(filter(None, None, Some("")));
        assert!(!filter(Some("other"), None, None));
        assert!(!filter(None, Some(EventType::Page), None));
        assert!(!filter(None, None, Some("grace")));
    }
}
