//! The document of an event, which triggers and mappings evaluate: the message, its batch's shared
//! fields and the fields that acceptance adds. A pure function of the stored fields, so that it is the
//! same bytes whenever it is composed.

use super::event_time::EventTime;
use super::event_type::EventType;
use crate::domain::clock::Timestamp;
use crate::json::{self, Object, Value};

/// Why an event has no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It was rejected: its type is unknown.
    #[error("the event has no type")]
    Untyped,
    /// It was rejected: the message is not an object.
    #[error("the event is not an object")]
    NotAnObject,
    /// The message is not JSON; intake accepts none such.
    #[error("the event's body is not JSON")]
    Body(#[source] json::ParseError),
    /// The batch's shared fields are not JSON; intake writes none such.
    #[error("the event's envelope is not JSON")]
    Envelope(#[source] json::ParseError),
}

/// The sender's credential; never part of a document.
const WRITE_KEY: &str = "writeKey";

/// The fields that acceptance adds to a message.
#[derive(Clone, Copy, Debug)]
pub struct Added<'e> {
    /// Its type.
    pub kind: EventType,
    /// Its messageId.
    pub message_id: &'e str,
    /// When it was accepted.
    pub received_at: Timestamp,
}

/// Serializes a document. `length` is an estimate of its length.
#[must_use]
pub fn print(document: &Value<'_>, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 256);
    json::print(document, &mut bytes);
    bytes
}

/// Composes a document from a message. `envelope` has the batch's shared fields: `context` and
/// `integrations` are merged key by key, the message's keys first; `sentAt` applies where the message
/// has none.
#[must_use]
pub fn compose<'a>(
    message: Object<'a>,
    envelope: Option<&Object<'a>>,
    added: Added<'_>,
) -> Value<'a> {
    let mut document = message;
    document.remove(WRITE_KEY);
    if let Some(envelope) = envelope {
        merge(&mut document, envelope);
    }
    set(&mut document, "type", added.kind.as_str());
    set_message_id(&mut document, added.message_id);
    let (original, corrected) = times(&document, added.received_at);
    document.insert("originalTimestamp", original);
    set(&mut document, "timestamp", &corrected.to_iso());
    set(&mut document, "receivedAt", &added.received_at.to_iso());
    Value::Object(document)
}

/// Sets a string; leaves an equal value in place.
fn set(document: &mut Object<'_>, key: &'static str, text: &str) {
    let is_set = |value: &Value<'_>| value.as_str().is_some_and(|it| it == text);
    if !document.get(key).is_some_and(is_set) {
        document.insert(key, Value::string(text.to_owned()));
    }
}

/// Sets the messageId, unless it is the message's own, which may have lone surrogates.
fn set_message_id(document: &mut Object<'_>, message_id: &str) {
    let is_own =
        |value: &Value<'_>| matches!(value, Value::String(text) if text.distinct() == message_id);
    if !document.get("messageId").is_some_and(is_own) {
        document.insert("messageId", Value::string(message_id.to_owned()));
    }
}

fn merge<'a>(document: &mut Object<'a>, envelope: &Object<'a>) {
    for key in ["context", "integrations"] {
        let Some(Value::Object(shared)) = envelope.get(key) else { continue };
        let merged = match document.get(key) {
            None | Some(Value::Null) => shared.clone(),
            Some(Value::Object(own)) => {
                let mut merged = shared.clone();
                for (key, value) in own.iter() {
                    merged.insert(key.clone(), value.clone());
                }
                merged
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                continue;
            }
        };
        document.insert(key, Value::Object(merged));
    }
    if let Some(sent_at) = envelope.get("sentAt")
        && document.get("sentAt").is_none_or(Value::is_null)
    {
        document.insert("sentAt", sent_at.clone());
    }
}

/// The sender's time of the event, and the corrected one; both the time of acceptance where there is none.
fn times<'a>(document: &Object<'a>, received_at: Timestamp) -> (Value<'a>, Timestamp) {
    let given = |key| document.get(key).filter(|value| !value.is_null());
    // A message exported from another pipeline may have only `originalTimestamp`.
    let original = given("timestamp").or_else(|| given("originalTimestamp"));
    let corrected = EventTime::of(original, given("sentAt"), received_at).corrected;
    (original.cloned().unwrap_or_else(|| Value::string(received_at.to_iso())), corrected)
}
