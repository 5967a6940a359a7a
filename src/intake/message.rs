//! From a parsed body to events: a single call is one message, a batch is its items, each on its
//! own. What a request may have is checked here; what a message needs, in `validate`.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Refusal;
use super::call::Call;
use super::limits::{
    MAX_BATCH_MESSAGES, MAX_ENVELOPE_BYTES, MAX_MERGED_BYTES, MAX_MESSAGE_BYTES,
    MAX_MESSAGE_ID_CHARS,
};
use super::message_id::MessageIds;
use super::validate::{self, Fault};
use super::{slices, write_key};
use crate::domain::clock::Timestamp;
use crate::domain::document::{self, Added};
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::SourceId;
use crate::domain::trace::Trace;
use crate::json::{self, Object, Value};

/// A request's messages, not looked at one by one yet.
pub(super) struct Messages<'a> {
    items: Vec<Item<'a>>,
    envelope: Option<Envelope<'a>>,
}

struct Item<'a> {
    /// What it is, where the path says so.
    kind: Option<EventType>,
    /// A fault of the request as a whole, which is kept like a message.
    fault: Option<Fault>,
    value: Value<'a>,
    body: Bytes,
}

/// What a batch adds to its items.
struct Envelope<'a> {
    object: Object<'a>,
    text: String,
}

/// An event, and its document where it is one to be routed.
pub(super) struct Read<'a> {
    pub(super) event: Event,
    pub(super) document: Option<Value<'a>>,
}

/// What goes into every event of a request.
pub(super) struct Reception<'r> {
    pub(super) source_id: SourceId,
    pub(super) received_at: Timestamp,
    pub(super) message_ids: &'r MessageIds,
    pub(super) trace: Option<Arc<Trace>>,
}

impl<'a> Messages<'a> {
    /// The messages of a request whose `body` parsed to `value`.
    pub(super) fn of(call: Call, body: &Bytes, value: Value<'a>) -> Result<Self, Refusal> {
        match call {
            Call::Single(kind) => Self::one(Some(kind), None, body, value),
            Call::Batch => Self::batch(body, value),
        }
    }

    fn one(
        kind: Option<EventType>,
        fault: Option<Fault>,
        body: &Bytes,
        value: Value<'a>,
    ) -> Result<Self, Refusal> {
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Refusal::MessageTooLarge { bytes: body.len() });
        }
        let item = Item { kind, fault, value, body: body.clone() };
        Ok(Self { items: vec![item], envelope: None })
    }

    fn batch(body: &Bytes, mut value: Value<'a>) -> Result<Self, Refusal> {
        let Some(object) = value.as_object_mut() else {
            return Self::one(None, Some(Fault::NotAnObject), body, value);
        };
        let (values, slices) = match (object.remove("batch"), slices::items(body, "batch")) {
            (Some(Value::Array(values)), Some(slices)) => (values, slices),
            _ => return Self::one(None, Some(Fault::NoBatch), body, value),
        };
        if values.is_empty() {
            return Self::one(None, Some(Fault::EmptyBatch), body, value);
        }
        if values.len() > MAX_BATCH_MESSAGES {
            return Err(Refusal::TooManyMessages { count: values.len() });
        }
        let envelope = Envelope::of(object, values.len())?;
        let mut items = Vec::with_capacity(values.len());
        for (index, (value, slice)) in values.into_iter().zip(slices).enumerate() {
            if slice.len() > MAX_MESSAGE_BYTES {
                return Err(Refusal::ItemTooLarge { index, bytes: slice.len() });
            }
            items.push(Item { kind: None, fault: None, value, body: body.slice(slice) });
        }
        Ok(Self { items, envelope })
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    /// Reads each.
    pub(super) fn read(self, reception: &Reception<'_>) -> impl Iterator<Item = Read<'a>> {
        let Self { items, envelope } = self;
        items.into_iter().map(move |item| item.read(envelope.as_ref(), reception))
    }
}

impl<'a> Envelope<'a> {
    fn of(batch: &mut Object<'a>, count: usize) -> Result<Option<Self>, Refusal> {
        let mut object = Object::new();
        for key in ["context", "integrations"] {
            if let Some(value @ Value::Object(_)) = batch.remove(key) {
                object.insert(key, value);
            }
        }
        if let Some(sent_at @ (Value::String(_) | Value::Number(_))) = batch.remove("sentAt") {
            object.insert("sentAt", sent_at);
        }
        if object.is_empty() {
            return Ok(None);
        }
        let value = Value::Object(object);
        let text = json::to_string(&value);
        if text.len() > MAX_ENVELOPE_BYTES {
            return Err(Refusal::EnvelopeTooLarge { bytes: text.len() });
        }
        if text.len() * count > MAX_MERGED_BYTES {
            return Err(Refusal::MergedTooLarge { count });
        }
        let Value::Object(object) = value else { return Ok(None) };
        Ok(Some(Self { object, text }))
    }
}

impl<'a> Item<'a> {
    fn read(self, envelope: Option<&Envelope<'a>>, reception: &Reception<'_>) -> Read<'a> {
        let Self { kind, fault, value, body } = self;
        let empty = Object::new();
        let message = value.as_object().unwrap_or(&empty);
        let kind = kind.or_else(|| EventType::parse(&message.get("type")?.as_str()?));
        let message_id = validate::id(message, "messageId");
        let judged = judge(kind, fault, &value, message_id.as_deref());
        let body = if message.get(write_key::PROPERTY).is_some() {
            slices::without(&body, write_key::PROPERTY)
        } else {
            body
        };
        let event = Event {
            source_id: reception.source_id,
            kind,
            message_id: message_id
                .filter(|id| !is_too_long(id))
                .unwrap_or_else(|| reception.message_ids.next()),
            received_at: reception.received_at,
            name: kind.and_then(|kind| name(kind, message)),
            user_id: validate::id(message, "userId"),
            body,
            envelope: envelope.map(|envelope| envelope.text.clone()),
            rejection: judged.err().map(|fault| fault.to_string()),
            trace: reception.trace.clone(),
            document: Document::default(),
        };
        let (Ok(kind), Value::Object(message)) = (judged, value) else {
            return Read { event, document: None };
        };
        let added =
            Added { kind, message_id: &event.message_id, received_at: reception.received_at };
        let document = document::compose(message, envelope.map(|it| &it.object), added);
        Read { event, document: Some(document) }
    }
}

fn judge(
    kind: Option<EventType>,
    fault: Option<Fault>,
    value: &Value<'_>,
    message_id: Option<&str>,
) -> Result<EventType, Fault> {
    if let Some(fault) = fault {
        return Err(fault);
    }
    let message = value.as_object().ok_or(Fault::NotAnObject)?;
    let kind = kind.ok_or(Fault::Type)?;
    if message_id.is_some_and(is_too_long) {
        return Err(Fault::MessageId);
    }
    validate::check(kind, message)?;
    Ok(kind)
}

fn is_too_long(id: &str) -> bool {
    id.len() > MAX_MESSAGE_ID_CHARS && id.chars().count() > MAX_MESSAGE_ID_CHARS
}

/// What an event is called in lists.
fn name(kind: EventType, message: &Object<'_>) -> Option<String> {
    let key = match kind {
        EventType::Track => "event",
        EventType::Page | EventType::Screen => "name",
        EventType::Identify | EventType::Group | EventType::Alias | EventType::Delete => {
            return None;
        }
    };
    message.get(key)?.as_str().map(std::borrow::Cow::into_owned)
}
