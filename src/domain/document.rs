//! The document of an event: what triggers and mappings see. It is the message with what its batch
//! adds to it and what acceptance adds, and follows from the stored fields alone, so that it is the
//! same bytes whenever it is made.

use jiff::civil;
use jiff::tz::TimeZone;

use super::event::{Event, EventType};
use crate::domain::clock::Timestamp;
use crate::json::{self, Object, Value};

/// Why an event has no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Its type is not known: it was rejected.
    #[error("the event has no type")]
    Untyped,
    /// The message is not an object: it was rejected.
    #[error("the event is not an object")]
    NotAnObject,
    /// The message is not JSON; none such is ever accepted.
    #[error("the event's body is not JSON")]
    Body(#[source] json::ParseError),
    /// What its batch adds is not JSON; none such is ever written.
    #[error("the event's envelope is not JSON")]
    Envelope(#[source] json::ParseError),
}

/// A sender's credential, which is nobody else's business.
const WRITE_KEY: &str = "writeKey";

/// What acceptance adds to a message.
#[derive(Clone, Copy, Debug)]
pub struct Added<'e> {
    /// Its type.
    pub kind: EventType,
    /// Its messageId.
    pub message_id: &'e str,
    /// When it was accepted.
    pub received_at: Timestamp,
}

/// The document's bytes, from an event's stored fields.
pub(super) fn of(event: &Event) -> Result<Vec<u8>, DocumentError> {
    let kind = event.kind.ok_or(DocumentError::Untyped)?;
    let Value::Object(message) = json::parse(&event.body).map_err(DocumentError::Body)? else {
        return Err(DocumentError::NotAnObject);
    };
    let envelope = event.envelope.as_deref().map(|text| json::parse(text.as_bytes()));
    let envelope = envelope.transpose().map_err(DocumentError::Envelope)?;
    let added = Added { kind, message_id: &event.message_id, received_at: event.received_at };
    let envelope = envelope.as_ref().and_then(Value::as_object);
    Ok(print(&compose(message, envelope, added), event.body.len()))
}

/// The document's bytes. `length` is about how many there will be.
#[must_use]
pub fn print(document: &Value<'_>, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 256);
    json::print(document, &mut bytes);
    bytes
}

/// Makes a document of a message. `envelope` is what its batch adds: `context` and `integrations`
/// key by key where the message has no such key, `sentAt` where the message has none.
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
    set(&mut document, "messageId", added.message_id);
    let times = Times::of(&document, added.received_at);
    document.insert("originalTimestamp", times.original);
    set(&mut document, "timestamp", &times.corrected.to_iso());
    set(&mut document, "receivedAt", &added.received_at.to_iso());
    Value::Object(document)
}

/// Sets a string, unless it stands there already.
fn set(document: &mut Object<'_>, key: &'static str, text: &str) {
    let is_set = |value: &Value<'_>| value.as_str().is_some_and(|it| it == text);
    if !document.get(key).is_some_and(is_set) {
        document.insert(key, Value::string(text.to_owned()));
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

/// When something happened, by the sender's clock and by ours.
struct Times<'a> {
    /// As the sender gave it; acceptance, where it gave none.
    original: Value<'a>,
    /// With the sender's clock set right.
    corrected: Timestamp,
}

impl<'a> Times<'a> {
    fn of(document: &Object<'a>, received_at: Timestamp) -> Self {
        let given = |key| document.get(key).filter(|value| !value.is_null());
        // A message that was exported by a pipeline like this one has only the original time left.
        let original = given("timestamp").or_else(|| given("originalTimestamp"));
        let sent_at = given("sentAt").and_then(read_time);
        Self {
            corrected: correct(original.and_then(read_time), sent_at, received_at),
            original: original.cloned().unwrap_or_else(|| Value::string(received_at.to_iso())),
        }
    }
}

/// The time of an event by our clock: as long before its acceptance as it was before its sending by
/// the sender's clock. Without a time of sending, the sender's clock is taken as right; without a
/// time of its own, the event happened when it was accepted.
#[must_use]
pub fn correct(
    original: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
) -> Timestamp {
    let Some(original) = original else { return received_at };
    let Some(sent_at) = sent_at else { return original };
    let age = sent_at.as_micros().saturating_sub(original.as_micros());
    let corrected = received_at.shifted(age.saturating_neg());
    // What cannot be printed as a time is no time.
    if jiff::Timestamp::from_microsecond(corrected.as_micros()).is_ok() {
        corrected
    } else {
        received_at
    }
}

fn read_time(value: &Value<'_>) -> Option<Timestamp> {
    parse_time(value.as_str()?.trim())
}

/// Reads a time as senders write it: ISO 8601 with an offset, or without one, which means UTC; a
/// date alone is its midnight.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_iso(text).or_else(|| {
        let civil = text.parse::<civil::DateTime>().ok()?;
        let at = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(Timestamp::from_micros(at.as_microsecond()))
    })
}
