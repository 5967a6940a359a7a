//! Conditions on an event's document. No engine knows its fields: they are checked on the events that a query
//! finds.

use crate::domain::event::Event;
use crate::json::{self, Value};
use crate::trigger::Trigger;

/// The field of an anonymous user's id.
const ANONYMOUS_ID: &str = "anonymousId";

/// Conditions on a document; all must hold. A rejected event has no document and meets none.
#[derive(Debug, Default)]
pub(in crate::service) struct DocumentConditions {
    /// Of this anonymous user.
    pub(super) anonymous_id: Option<String>,
    /// That this trigger matches.
    pub(super) trigger: Option<Trigger>,
}

impl DocumentConditions {
    /// Whether there are none: every event meets them.
    pub(in crate::service) fn are_none(&self) -> bool {
        let Self { anonymous_id, trigger } = self;
        anonymous_id.is_none() && trigger.is_none()
    }

    /// Whether an event meets them.
    pub(in crate::service) fn hold(&self, event: &Event) -> bool {
        if self.are_none() {
            return true;
        }
        if event.rejection.is_some() {
            return false;
        }
        let document = event.document().ok().and_then(|bytes| json::parse(bytes).ok());
        document.is_some_and(|document| self.hold_for(&document))
    }

    fn hold_for(&self, document: &Value<'_>) -> bool {
        self.anonymous_id.as_deref().is_none_or(|wanted| is_of(document, wanted))
            && self.trigger.as_ref().is_none_or(|trigger| trigger.matches(document))
    }
}

/// Whether the anonymous user's id is this one; SDKs send ids as strings and as numbers.
fn is_of(document: &Value<'_>, wanted: &str) -> bool {
    let id = document.as_object().and_then(|it| it.get(ANONYMOUS_ID));
    id.is_some_and(|id| match id {
        Value::String(text) => text.distinct() == wanted,
        Value::Number(_) => json::to_string(id) == wanted,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(anonymous_id: Option<&str>, trigger: Option<&str>) -> bool {
        let conditions = DocumentConditions {
            anonymous_id: anonymous_id.map(str::to_owned),
            trigger: trigger.map(|text| Trigger::parse(text).expect("a trigger")),
        };
        let text = br#"{"anonymousId":"a-1","properties":{"plan":"pro","seats":3}}"#;
        conditions.hold_for(&json::parse(text).expect("JSON"))
    }

    #[test]
    fn all_conditions_on_a_document_must_hold() {
        assert!(matches(None, None));
        assert!(matches(Some("a-1"), Some(r#"properties.plan = "pro""#)));
        assert!(!matches(Some("a-2"), Some(r#"properties.plan = "pro""#)));
        assert!(!matches(Some("a-1"), Some("properties.seats > 3")));
    }
}
