//! From a parsed body to events: a single call has one message, a batch has its items. Limits of the
//! request are checked here, required fields of a message in `validate`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::limits::{
    KEPT_HEAD_BYTES, MAX_BATCH_MESSAGES, MAX_ENVELOPE_BYTES, MAX_MERGED_BYTES, MAX_MESSAGE_BYTES,
    MAX_MESSAGE_ID_CHARS,
};
use super::message_id::MessageIds;
use super::response::IntakeError;
use super::validate::{self, Rejection};
use super::{raw_json, write_key};
use crate::domain::clock::Timestamp;
use crate::domain::document::{self, Added};
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::SourceId;
use crate::domain::oversized::OversizedEvents;
use crate::domain::trace::Trace;
use crate::json::{self, Object, Value};

/// The messages of a request, before validation.
pub(super) struct Messages<'a> {
    items: Vec<Item<'a>>,
    envelope: Option<Envelope<'a>>,
}

struct Item<'a> {
    /// The type, if the path determines it.
    kind: Option<EventType>,
    /// A malformed batch is stored as one rejected event, an oversized event as its head.
    rejection: Option<Rejection>,
    value: Value<'a>,
    body: Bytes,
    /// The ids of a message from an inbox.
    ids: Option<&'a RowIds>,
}

/// The ids of a message from an inbox.
#[derive(Clone, Debug, Default)]
pub(super) struct RowIds {
    /// What the application gave beside the message: it counts before the message's own.
    pub(super) given: Option<String>,
    /// What counts when the message has none either: the same whenever the row is read.
    pub(super) otherwise: Option<String>,
}

/// The fields that a batch adds to each of its items.
struct Envelope<'a> {
    object: Object<'a>,
    text: String,
}

/// An event, with its document unless it is rejected.
pub(super) struct ParsedMessage<'a> {
    pub(super) event: Event,
    pub(super) document: Option<Value<'a>>,
}

/// The fields that all events of a request share.
pub(super) struct RequestContext<'r> {
    pub(super) source_id: SourceId,
    pub(super) received_at: Timestamp,
    pub(super) message_ids: &'r MessageIds,
    pub(super) trace: Option<Arc<Trace>>,
}

impl<'a> Messages<'a> {
    /// The messages of a request whose `body` parsed to `value`.
    pub(super) fn of(
        endpoint: Endpoint,
        body: &Bytes,
        value: Value<'a>,
        oversized: OversizedEvents,
    ) -> Result<Self, IntakeError> {
        match endpoint {
            Endpoint::Single(kind) | Endpoint::Pixel(kind) => {
                Self::one(Some(kind), None, body, value)
            }
            Endpoint::Batch => Self::batch(body, value, oversized),
        }
    }

    fn one(
        kind: Option<EventType>,
        rejection: Option<Rejection>,
        body: &Bytes,
        value: Value<'a>,
    ) -> Result<Self, IntakeError> {
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(IntakeError::MessageTooLarge { bytes: body.len() });
        }
        let item = Item { kind, rejection, value, body: body.clone(), ids: None };
        Ok(Self { items: vec![item], envelope: None })
    }

    fn batch(
        body: &Bytes,
        mut value: Value<'a>,
        oversized: OversizedEvents,
    ) -> Result<Self, IntakeError> {
        let Some(object) = value.as_object_mut() else {
            return Self::one(None, Some(Rejection::NotAnObject), body, value);
        };
        let (values, slices) = match (object.remove("batch"), raw_json::items(body, "batch")) {
            (Some(Value::Array(values)), Some(slices)) => (values, slices),
            _ => return Self::one(None, Some(Rejection::NoBatch), body, value),
        };
        if values.is_empty() {
            return Self::one(None, Some(Rejection::EmptyBatch), body, value);
        }
        if values.len() > MAX_BATCH_MESSAGES {
            return Err(IntakeError::TooManyMessages { count: values.len() });
        }
        let envelope = Envelope::of(object, values.len())?;
        let mut items = Vec::with_capacity(values.len());
        for (index, (value, slice)) in values.into_iter().zip(slices).enumerate() {
            let bytes = slice.len();
            let rejection = (bytes > MAX_MESSAGE_BYTES).then_some(Rejection::TooLarge { bytes });
            if rejection.is_some() && oversized == OversizedEvents::RejectBatch {
                return Err(IntakeError::ItemTooLarge { index, bytes });
            }
            items.push(Item { kind: None, rejection, value, body: body.slice(slice), ids: None });
        }
        Ok(Self { items, envelope })
    }

    /// The messages of an inbox: none is refused, since no client waits for an answer.
    pub(super) fn of_rows(rows: impl Iterator<Item = (&'a Bytes, &'a RowIds)>) -> Self {
        let item = |(body, ids): (&'a Bytes, &'a RowIds)| {
            let bytes = body.len();
            let (value, rejection) = match json::parse(body) {
                Ok(value) => (value, None),
                Err(error) => (Value::Null, Some(Rejection::NotJson { offset: error.offset })),
            };
            let is_large = bytes > MAX_MESSAGE_BYTES;
            let rejection = if is_large { Some(Rejection::TooLarge { bytes }) } else { rejection };
            Item { kind: None, rejection, value, body: body.clone(), ids: Some(ids) }
        };
        Self { items: rows.map(item).collect(), envelope: None }
    }

    /// Adds the sender's address to each message, as a field that they share: one of a message's own counts before.
    pub(super) fn set_client_ip(&mut self, client: IpAddr) {
        let mut object = self.envelope.take().map_or_else(Object::new, |it| it.object);
        let shared = object.remove("context");
        let mut context = if let Some(Value::Object(it)) = shared { it } else { Object::new() };
        if context.get("ip").is_none() {
            context.insert("ip", Value::string(client.to_canonical().to_string()));
        }
        object.insert("context", Value::Object(context));
        let value = Value::Object(object);
        let text = json::to_string(&value);
        let Value::Object(object) = value else { return };
        self.envelope = Some(Envelope { object, text });
    }

    /// The number of messages.
    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    /// Parses and validates each message.
    pub(super) fn read(
        self,
        context: &RequestContext<'_>,
    ) -> impl Iterator<Item = ParsedMessage<'a>> {
        let Self { items, envelope } = self;
        items.into_iter().map(move |item| item.read(envelope.as_ref(), context))
    }
}

impl<'a> Envelope<'a> {
    fn of(batch: &mut Object<'a>, count: usize) -> Result<Option<Self>, IntakeError> {
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
            return Err(IntakeError::EnvelopeTooLarge { bytes: text.len() });
        }
        if text.len() * count > MAX_MERGED_BYTES {
            return Err(IntakeError::MergedTooLarge { count });
        }
        let Value::Object(object) = value else { return Ok(None) };
        Ok(Some(Self { object, text }))
    }
}

impl<'a> Item<'a> {
    fn read(
        self,
        envelope: Option<&Envelope<'a>>,
        context: &RequestContext<'_>,
    ) -> ParsedMessage<'a> {
        let Self { kind, rejection, value, body, ids } = self;
        let empty = Object::new();
        let message = value.as_object().unwrap_or(&empty);
        let kind = kind.or_else(|| EventType::parse(&message.get("type")?.as_str()?));
        let given = ids.and_then(|ids| ids.given.clone()).filter(|id| !id.is_empty());
        let message_id = given.or_else(|| validate::id(message, "messageId"));
        let checked = check(kind, rejection, &value, message_id.as_deref());
        let body = if message.get(write_key::PROPERTY).is_some() {
            raw_json::without(&body, write_key::PROPERTY)
        } else {
            body
        };
        let is_oversized = matches!(rejection, Some(Rejection::TooLarge { .. }));
        let body = if is_oversized { head(&body) } else { body };
        let fits = |text: &String| !is_oversized || text.len() <= KEPT_HEAD_BYTES;
        let event = Event {
            source_id: context.source_id,
            kind,
            message_id: message_id
                .filter(|id| !is_too_long(id))
                .or_else(|| ids?.otherwise.clone())
                .unwrap_or_else(|| context.message_ids.next()),
            received_at: context.received_at,
            name: kind.and_then(|kind| name(kind, message)).filter(fits),
            user_id: validate::id(message, "userId").filter(fits),
            body,
            envelope: envelope.filter(|_| !is_oversized).map(|envelope| envelope.text.clone()),
            rejection: checked.err().map(|rejection| rejection.to_string()),
            trace: context.trace.clone(),
            document: Document::default(),
        };
        let (Ok(kind), Value::Object(message)) = (checked, value) else {
            return ParsedMessage { event, document: None };
        };
        let added = Added { kind, message_id: &event.message_id, received_at: context.received_at };
        let document = document::compose(message, envelope.map(|it| &it.object), added);
        ParsedMessage { event, document: Some(document) }
    }
}

/// The beginning of an event's text.
fn head(body: &Bytes) -> Bytes {
    let text = std::str::from_utf8(body).unwrap_or_default();
    body.slice(..text.floor_char_boundary(KEPT_HEAD_BYTES))
}

fn check(
    kind: Option<EventType>,
    rejection: Option<Rejection>,
    value: &Value<'_>,
    message_id: Option<&str>,
) -> Result<EventType, Rejection> {
    if let Some(rejection) = rejection {
        return Err(rejection);
    }
    let message = value.as_object().ok_or(Rejection::NotAnObject)?;
    let kind = kind.ok_or(Rejection::Type)?;
    if message_id.is_some_and(is_too_long) {
        return Err(Rejection::MessageId);
    }
    validate::check(kind, message)?;
    Ok(kind)
}

fn is_too_long(id: &str) -> bool {
    id.len() > MAX_MESSAGE_ID_CHARS && id.chars().count() > MAX_MESSAGE_ID_CHARS
}

/// The event's name in lists.
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
