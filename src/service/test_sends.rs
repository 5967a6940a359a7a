//! Test sends: a mapping rendered for the source's last event, any event, a sample or a given
//! document. The request is sent only on demand, and then recorded as a test, not as a delivery.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::attempt_view::ResultView;
use super::scope::visible_sources;
use super::{Service, ServiceError};
use crate::delivery::TestResult;
use crate::domain::auth::{Caller, Operator};
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::{EventId, MappingId, Noun, PublicId, SourceId};
use crate::json::{self, RawJson};
use crate::store::{EventConditions, EventQuery, Pipeline, TestSend, TestSendRow};

/// The number of events scanned for one that was not rejected.
const LOOKED_AT: u32 = 100;

/// The event to test a mapping with; default: the source's last event.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestBody {
    /// The id of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^evt_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$")]
    pub event: Option<String>,
    /// A type: its sample event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(track|identify|page|screen|group|alias|delete)$")]
    pub sample: Option<String>,
    /// An event, as in the tracking API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub document: Option<RawJson>,
    /// Whether to send the request.
    pub send: bool,
}

/// The result of a test.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestView {
    /// The event's id; none for a sample.
    pub event: Option<String>,
    /// Whether the mapping's trigger matches; the request is rendered in any case.
    pub matched: bool,
    /// The request; none where it cannot be rendered.
    pub request: Option<RequestView>,
    /// The console output of the insert function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Whether the request was sent.
    pub sent: bool,
    /// The result; none for a preview that rendered.
    pub result: Option<ResultView>,
}

/// A rendered request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// The HTTP method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers, a line each, secrets masked.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// A recorded test send.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestSendView {
    /// The event's id; none for a sample.
    pub event: Option<String>,
    /// The URL of the request.
    pub url: String,
    /// The headers of the request, a line each, secrets masked.
    pub request_headers: String,
    /// The result.
    pub result: ResultView,
}

/// A mapping's stored test sends, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestSendList {
    /// The test sends.
    pub items: Vec<TestSendView>,
}

/// Source, destination and mapping by name.
pub type Names = (String, String, String);

impl Service {
    /// Tests a mapping, and sends the request on demand.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such mapping or event.
    pub async fn test_mapping(
        &self,
        operator: &Operator,
        names: &Names,
        body: &TestBody,
    ) -> Result<TestView, ServiceError> {
        operator.check_scope(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let (source_id, mapping_id) = find(&pipeline, names)?;
        let chosen = choose(self, operator, source_id, body).await?;
        let tested = self.node.test_mapping(mapping_id, &chosen.event, body.send).await;
        let Some(tested) = tested else {
            let path = format!("{}/{}/{}", names.0, names.1, names.2);
            return Err(ServiceError::Missing(format!("mapping {path} that this version can run")));
        };
        if body.send
            && let Some(attempt) = &tested.attempt
        {
            let event_id = chosen.id;
            let test = TestSend { mapping_id, event_id, attempt: attempt.clone() };
            self.store.record_test_send(test, operator.act(self.clock.now())).await?;
        }
        Ok(TestView::of(&chosen, &tested, body.send))
    }

    /// A mapping's stored test sends, newest first.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such mapping.
    pub async fn test_sends(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<TestSendList, ServiceError> {
        let (_, mapping_id) = find(&self.pipeline(caller).await?, names)?;
        let rows = self.store.test_sends(mapping_id).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let event = match row.test.event_id {
                Some(id) => self.store.event(id).await?.map(|stored| public(id, &stored.event)),
                None => None,
            };
            items.push(TestSendView::of(&row, event));
        }
        Ok(TestSendList { items })
    }
}

fn find(
    pipeline: &Pipeline,
    (source, destination, mapping): &Names,
) -> Result<(SourceId, MappingId), ServiceError> {
    let missing = || ServiceError::Missing(format!("mapping {source}/{destination}/{mapping}"));
    let source_id = pipeline.sources.iter().find(|it| it.name == *source).ok_or_else(missing)?.id;
    let mut destinations = pipeline.destinations.iter();
    let destination = destinations
        .find(|it| it.source_id == source_id && it.name == *destination)
        .ok_or_else(missing)?;
    let mut mappings = pipeline.mappings.iter();
    let mapping = mappings
        .find(|it| it.destination_id == destination.id && it.name == *mapping)
        .ok_or_else(missing)?;
    Ok((source_id, mapping.id))
}

/// The event of a test; an event that is not stored has no id.
pub(super) struct Chosen {
    pub(super) id: Option<EventId>,
    pub(super) event: Event,
}

/// The event of a test, within the caller's scope.
pub(super) async fn choose(
    service: &Service,
    caller: &Caller,
    source_id: SourceId,
    body: &TestBody,
) -> Result<Chosen, ServiceError> {
    match (&body.event, &body.sample, &body.document) {
        (Some(id), None, None) => by_id(service, caller, id).await,
        (None, Some(kind), None) => sample(service, source_id, kind),
        (None, None, Some(document)) => given(service, source_id, document),
        (None, None, None) => {
            let query = EventQuery {
                event: EventConditions { source_id: Some(source_id), ..EventConditions::default() },
                limit: LOOKED_AT,
                ..EventQuery::default()
            };
            let events = service.store.events(query).await?.rows;
            let last = events.into_iter().find(|it| it.event.rejection.is_none());
            let last = last.ok_or_else(|| {
                ServiceError::Missing(
                    "event of this source yet: send one, or try a sample".to_owned(),
                )
            })?;
            Ok(Chosen { id: Some(last.id), event: last.event })
        }
        (None, Some(_), Some(_)) => Err(ServiceError::at("document", "and sample are exclusive")),
        (Some(_), _, _) => {
            let beside = if body.sample.is_some() { "sample" } else { "document" };
            Err(ServiceError::at(beside, "and event are exclusive"))
        }
    }
}

async fn by_id(service: &Service, caller: &Caller, id: &str) -> Result<Chosen, ServiceError> {
    let wrong = |message: String| ServiceError::at("event", message);
    let id = PublicId::parse_as(id, Noun::Event).map_err(|error| wrong(error.to_string()))?;
    let seen = visible_sources(caller, &service.pipeline(caller).await?);
    let stored = service.store.event(EventId(id.key)).await?;
    let stored = stored
        .filter(|it| it.event.received_at == id.created_at)
        .filter(|it| seen.is_none_or(|ids| ids.contains(&it.event.source_id)));
    let stored = stored.ok_or_else(|| ServiceError::Missing("such event".to_owned()))?;
    if stored.event.rejection.is_some() {
        return Err(wrong("was rejected, so it is not routed".to_owned()));
    }
    Ok(Chosen { id: Some(stored.id), event: stored.event })
}

fn sample(service: &Service, source_id: SourceId, kind: &str) -> Result<Chosen, ServiceError> {
    let words = EventType::ALL.map(EventType::as_str).join(", ");
    let wrong = || ServiceError::at("sample", format!("should be one of {words}"));
    let kind = EventType::parse(kind).ok_or_else(wrong)?;
    let samples: Vec<Value> =
        serde_json::from_str(include_str!("../../assets/samples.json")).unwrap_or_default();
    let body = samples.into_iter().find(|it| it["type"] == kind.as_str()).ok_or_else(wrong)?;
    let message_id = format!("sample-{}", kind.as_str());
    Ok(unstored(service, source_id, kind, (body.to_string(), message_id)))
}

fn given(
    service: &Service,
    source_id: SourceId,
    document: &RawJson,
) -> Result<Chosen, ServiceError> {
    let value = document.value();
    let text = |key| match value.as_object()?.get(key)? {
        json::Value::String(text) => Some(text.distinct().into_owned()),
        json::Value::Null
        | json::Value::Bool(_)
        | json::Value::Number(_)
        | json::Value::Array(_)
        | json::Value::Object(_) => None,
    };
    let kind = text("type").and_then(|kind| EventType::parse(&kind)).ok_or_else(|| {
        let words = EventType::ALL.map(EventType::as_str).join(", ");
        ServiceError::at("document", format!("should be an object whose type is one of {words}"))
    })?;
    let message_id = text("messageId").unwrap_or_else(|| "given-here".to_owned());
    Ok(unstored(service, source_id, kind, (document.text().to_owned(), message_id)))
}

/// An event that is not stored, as if accepted now.
fn unstored(
    service: &Service,
    source_id: SourceId,
    kind: EventType,
    (body, message_id): (String, String),
) -> Chosen {
    let event = Event {
        source_id,
        kind: Some(kind),
        message_id,
        received_at: service.clock.now(),
        name: None,
        user_id: None,
        body: Bytes::from(body),
        envelope: None,
        rejection: None,
        trace: None,
        document: Document::default(),
    };
    Chosen { id: None, event }
}

fn public(id: EventId, event: &Event) -> String {
    PublicId::new(Noun::Event, event.received_at, id.0).to_string()
}

impl TestView {
    pub(super) fn of(chosen: &Chosen, tested: &TestResult, sent: bool) -> Self {
        let request = tested.request.as_ref().map(|request| RequestView {
            method: request.method.to_string(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
        });
        Self {
            event: chosen.id.map(|id| public(id, &chosen.event)),
            matched: tested.matched,
            request,
            console: tested.console.clone(),
            sent,
            result: tested.attempt.as_ref().map(ResultView::of),
        }
    }
}

impl TestSendView {
    fn of(row: &TestSendRow, event: Option<String>) -> Self {
        let made = &row.test.attempt;
        Self {
            event,
            url: made.url.clone(),
            request_headers: made.request_headers.clone(),
            result: ResultView::of(made),
        }
    }
}
