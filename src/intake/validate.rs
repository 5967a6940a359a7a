//! Required fields of a message. An invalid message is acknowledged, as Segment does, and stored with the
//! reason of its rejection; it is not routed.

use super::limits::{KEPT_HEAD_BYTES, MAX_MESSAGE_BYTES, MAX_MESSAGE_ID_CHARS};
use crate::domain::event::EventType;
use crate::json::{Object, Value};

/// Why a message is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    #[error("the event is not an object")]
    NotAnObject,
    #[error(
        "the event has {bytes} bytes, more than the {MAX_MESSAGE_BYTES} it may have; its first {KEPT_HEAD_BYTES} are kept"
    )]
    TooLarge { bytes: usize },
    #[error("the event is not JSON (offset {offset})")]
    NotJson { offset: usize },
    #[error("batch is missing, or not an array")]
    NoBatch,
    #[error("batch is empty")]
    EmptyBatch,
    #[error(
        "type is missing or unknown: should be track, identify, page, screen, group, alias or \
         delete"
    )]
    Type,
    #[error("messageId has more than {MAX_MESSAGE_ID_CHARS} characters")]
    MessageId,
    #[error("there is no userId and no anonymousId")]
    NoUser,
    #[error("there is no userId: an alias needs one")]
    NoAliasUser,
    #[error("there is no previousId: an alias needs one, or an anonymousId")]
    NoPreviousId,
    #[error("there is no groupId: a group needs one")]
    NoGroupId,
    #[error("there is no event: a track needs the event's name")]
    NoEvent,
    #[error("event is not a string")]
    EventNotAString,
    #[error("properties is not an object")]
    Properties,
    #[error("traits is not an object")]
    Traits,
}

/// Checks a message of this type.
pub(super) fn check(kind: EventType, message: &Object<'_>) -> Result<(), Rejection> {
    match kind {
        EventType::Track => {
            check_user(message)?;
            check_event(message)?;
            check_object(message, "properties", Rejection::Properties)
        }
        EventType::Page | EventType::Screen => {
            check_user(message)?;
            check_object(message, "properties", Rejection::Properties)
        }
        EventType::Identify => {
            check_user(message)?;
            check_object(message, "traits", Rejection::Traits)
        }
        EventType::Group => {
            check_user(message)?;
            if !is_id(message, "groupId") {
                return Err(Rejection::NoGroupId);
            }
            check_object(message, "traits", Rejection::Traits)
        }
        EventType::Alias => {
            if !is_id(message, "userId") {
                return Err(Rejection::NoAliasUser);
            }
            // analytics.js sends the anonymousId in place of previousId.
            if !is_id(message, "previousId") && !is_id(message, "anonymousId") {
                return Err(Rejection::NoPreviousId);
            }
            Ok(())
        }
        EventType::Delete => check_user(message),
    }
}

fn check_user(message: &Object<'_>) -> Result<(), Rejection> {
    if is_id(message, "userId") || is_id(message, "anonymousId") {
        Ok(())
    } else {
        Err(Rejection::NoUser)
    }
}

fn check_event(message: &Object<'_>) -> Result<(), Rejection> {
    match message.get("event") {
        None | Some(Value::Null) => Err(Rejection::NoEvent),
        Some(Value::String(name)) if name.printed().is_empty() => Err(Rejection::NoEvent),
        Some(Value::String(_)) => Ok(()),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Rejection::EventNotAString)
        }
    }
}

fn check_object(message: &Object<'_>, key: &str, rejection: Rejection) -> Result<(), Rejection> {
    match message.get(key) {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(rejection)
        }
    }
}

/// SDKs send ids as strings and as numbers.
fn is_id(message: &Object<'_>, key: &str) -> bool {
    id(message, key).is_some()
}

/// An id as text; none if it is missing, empty or neither a string nor a number.
pub(super) fn id(message: &Object<'_>, key: &str) -> Option<String> {
    match message.get(key)? {
        Value::String(text) => Some(text.distinct().into_owned()).filter(|text| !text.is_empty()),
        number @ Value::Number(finite) if finite.is_finite() => {
            Some(crate::json::to_string(number))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn rejection(kind: EventType, text: &str) -> Option<Rejection> {
        let value = parse(text.as_bytes()).expect("JSON");
        check(kind, value.as_object().expect("an object")).err()
    }

    #[test]
    fn required_fields_by_event_type() {
        use EventType::{Alias, Delete, Group, Identify, Page, Screen, Track};
        let cases = [
            (Track, r#"{"userId":"u","event":"E"}"#, None),
            (Track, r#"{"anonymousId":"a","event":"E","properties":null}"#, None),
            (Track, r#"{"userId":7,"event":"E","properties":{}}"#, None),
            (Track, r#"{"event":"E"}"#, Some(Rejection::NoUser)),
            (Track, r#"{"userId":"","anonymousId":null,"event":"E"}"#, Some(Rejection::NoUser)),
            (Track, r#"{"userId":{},"event":"E"}"#, Some(Rejection::NoUser)),
            (Track, r#"{"userId":"u"}"#, Some(Rejection::NoEvent)),
            (Track, r#"{"userId":"u","event":""}"#, Some(Rejection::NoEvent)),
            (Track, r#"{"userId":"u","event":null}"#, Some(Rejection::NoEvent)),
            (Track, r#"{"userId":"u","event":5}"#, Some(Rejection::EventNotAString)),
            (Track, r#"{"userId":"u","event":"E","properties":[]}"#, Some(Rejection::Properties)),
            (Track, r#"{"userId":"u","event":"E","properties":"x"}"#, Some(Rejection::Properties)),
            (Page, r#"{"userId":"u"}"#, None),
            (Page, r#"{"userId":"u","properties":1}"#, Some(Rejection::Properties)),
            (Screen, r#"{"anonymousId":"u","name":"Main"}"#, None),
            (Screen, "{}", Some(Rejection::NoUser)),
            (Identify, r#"{"userId":"u","traits":{"a":1}}"#, None),
            (Identify, r#"{"userId":"u","traits":true}"#, Some(Rejection::Traits)),
            (Group, r#"{"userId":"u","groupId":"g"}"#, None),
            (Group, r#"{"userId":"u","groupId":12}"#, None),
            (Group, r#"{"userId":"u"}"#, Some(Rejection::NoGroupId)),
            (Group, r#"{"userId":"u","groupId":"g","traits":[]}"#, Some(Rejection::Traits)),
            (Group, r#"{"groupId":"g"}"#, Some(Rejection::NoUser)),
            (Alias, r#"{"userId":"u","previousId":"p"}"#, None),
            (Alias, r#"{"userId":"u","anonymousId":"p"}"#, None),
            (Alias, r#"{"previousId":"p"}"#, Some(Rejection::NoAliasUser)),
            (Alias, r#"{"userId":"u"}"#, Some(Rejection::NoPreviousId)),
            (Delete, r#"{"userId":"u"}"#, None),
            (Delete, "{}", Some(Rejection::NoUser)),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(rejection(kind, text), expected, "{} {text}", kind.as_str());
        }
    }
}
