//! The item of the live event feed, and the filter that a subscriber applies to it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::ring::FeedItem;
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::EventId;

/// What an event takes beside its body, about.
const EVENT_BYTES: usize = 512;

/// An event that intake has just committed, accepted or rejected.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// The event's id.
    pub id: EventId,
    /// Its source's name.
    pub source: Arc<str>,
    /// The event.
    pub event: Event,
    /// Its body in lower case, for searches; computed once for all subscribers.
    searched: OnceLock<String>,
}

impl LiveEvent {
    /// A copy of an event: the original keeps the whole body of its request in memory.
    #[must_use]
    pub fn new(id: EventId, source: Arc<str>, event: &Event) -> Self {
        let body = Bytes::copy_from_slice(&event.body);
        let event = Event { body, document: Document::default(), ..event.clone() };
        Self { id, source, event, searched: OnceLock::new() }
    }

    /// Whether the message contains a text in lower case.
    fn contains(&self, text: &str) -> bool {
        let lower = || String::from_utf8_lossy(&self.event.body).to_lowercase();
        self.searched.get_or_init(lower).contains(text)
    }
}

impl FeedItem for LiveEvent {
    fn bytes(&self) -> usize {
        EVENT_BYTES + self.event.body.len() + self.event.envelope.as_ref().map_or(0, String::len)
    }
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
            && self.text.as_ref().is_none_or(|text| live.contains(text))
    }

    /// Whether it lets everything through.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.source.is_none() && self.kind.is_none() && self.text.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::id::SourceId;

    fn live(body: &'static [u8]) -> LiveEvent {
        let event = Event {
            source_id: SourceId(1),
            kind: Some(EventType::Track),
            message_id: "m1".to_owned(),
            received_at: Timestamp::from_micros(1_800_000_000_000_000),
            name: Some("Signed Up".to_owned()),
            user_id: None,
            body: Bytes::from_static(body),
            envelope: None,
            rejection: None,
            trace: None,
            document: Document::default(),
        };
        LiveEvent::new(EventId(7), "website".into(), &event)
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
