//! Test sends: a mapping tried on the source's last event, on any event or on a sample. What would be
//! sent is shown; sent it is only when asked for, and then recorded as a test, never as a delivery.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::events::sources_among;
use super::{Refusal, Service};
use crate::delivery::TestResult;
use crate::domain::attempt::NewAttempt;
use crate::domain::auth::{Caller, Operator};
use crate::domain::event::{Document, Event, EventType};
use crate::domain::id::{EventId, MappingId, Noun, PublicId, SourceId};
use crate::store::{EventConditions, EventQuery, Pipeline, TestSend, TestSendRow};

/// The events looked at for one that was not rejected.
const LOOKED_AT: u32 = 100;

/// What to try a mapping on; neither: the source's last event.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestBody {
    /// An event's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^evt_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$")]
    pub event: Option<String>,
    /// A type, of which there is a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(track|identify|page|screen|group|alias|delete)$")]
    pub sample: Option<String>,
    /// An event that is given here, as the tracking API takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub document: Option<Value>,
    /// Whether to send it.
    pub send: bool,
}

/// What a test gave.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestView {
    /// The event's id; none for a sample.
    pub event: Option<String>,
    /// Whether the mapping's trigger matches it; the request is made all the same.
    pub matched: bool,
    /// The request; none where the event gives none.
    pub request: Option<RequestView>,
    /// What its insert function wrote to the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Whether it was to be sent.
    pub sent: bool,
    /// What came of it; none for a preview that could be made.
    pub result: Option<ResultView>,
}

/// A request as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// The HTTP method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// The headers, a line each, secrets masked.
    pub headers: String,
    /// The body's text.
    pub body: String,
}

/// How a test ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// The mapping revision: its number in the database.
    pub revision: i64,
    /// When it began.
    pub started_at: String,
    /// How long the request took, in microseconds.
    pub duration_us: u64,
    /// How it ended, in the words of attempts.
    pub outcome: String,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The answer's headers, a line each.
    pub response_headers: String,
    /// The answer's body as far as it is kept; what is not UTF-8 in it is replaced.
    pub response_body: String,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
}

/// A test send as it was recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestSendView {
    /// The event's id; none for a sample.
    pub event: Option<String>,
    /// The request's URL.
    pub url: String,
    /// The request's headers, a line each, secrets masked.
    pub request_headers: String,
    /// How it ended.
    pub result: ResultView,
}

/// Every test send of a mapping that is kept, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestSendList {
    /// They.
    pub items: Vec<TestSendView>,
}

/// Source, destination and mapping by name.
pub type Names = (String, String, String);

impl Service {
    /// Tries a mapping, and sends what that gives if told to.
    ///
    /// # Errors
    /// [`Refusal`] when there is no such mapping or event.
    pub async fn test_mapping(
        &self,
        operator: &Operator,
        names: &Names,
        body: &TestBody,
    ) -> Result<TestView, Refusal> {
        operator.reaches(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let (source_id, mapping_id) = find(&pipeline, names)?;
        let chosen = choose(self, operator, source_id, body).await?;
        let tested = self.node.test_mapping(mapping_id, &chosen.event, body.send).await;
        let Some(tested) = tested else {
            let path = format!("{}/{}/{}", names.0, names.1, names.2);
            return Err(Refusal::Missing(format!("mapping {path} that this version can run")));
        };
        if body.send
            && let Some(attempt) = &tested.attempt
        {
            let event_id = chosen.id;
            let test = TestSend { mapping_id, event_id, attempt: attempt.clone() };
            self.store.record_test(test, operator.act(self.clock.now())).await?;
        }
        Ok(TestView::of(&chosen, &tested, body.send))
    }

    /// A mapping's test sends that are kept, newest first.
    ///
    /// # Errors
    /// [`Refusal`] when there is no such mapping.
    pub async fn test_sends(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<TestSendList, Refusal> {
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
) -> Result<(SourceId, MappingId), Refusal> {
    let missing = || Refusal::Missing(format!("mapping {source}/{destination}/{mapping}"));
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

/// The event of a test; one that was not accepted has no id.
pub(super) struct Chosen {
    pub(super) id: Option<EventId>,
    pub(super) event: Event,
}

/// The event that a mapping is tried on: of what the caller may see.
pub(super) async fn choose(
    service: &Service,
    caller: &Caller,
    source_id: SourceId,
    body: &TestBody,
) -> Result<Chosen, Refusal> {
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
                Refusal::Missing("event of this source yet: send one, or try a sample".to_owned())
            })?;
            Ok(Chosen { id: Some(last.id), event: last.event })
        }
        (None, Some(_), Some(_)) => Err(Refusal::at("document", "stands beside sample: give one")),
        (Some(_), _, _) => {
            let beside = if body.sample.is_some() { "sample" } else { "document" };
            Err(Refusal::at(beside, "stands beside event: give one"))
        }
    }
}

async fn by_id(service: &Service, caller: &Caller, id: &str) -> Result<Chosen, Refusal> {
    let wrong = |message: String| Refusal::at("event", message);
    let id = PublicId::parse_as(id, Noun::Event).map_err(|error| wrong(error.to_string()))?;
    let seen = sources_among(caller, &service.pipeline(caller).await?);
    let stored = service.store.event(EventId(id.key)).await?;
    let stored = stored
        .filter(|it| it.event.received_at == id.created_at)
        .filter(|it| seen.is_none_or(|ids| ids.contains(&it.event.source_id)));
    let stored = stored.ok_or_else(|| Refusal::Missing("such event".to_owned()))?;
    if stored.event.rejection.is_some() {
        return Err(wrong("was rejected: it goes to no mapping".to_owned()));
    }
    Ok(Chosen { id: Some(stored.id), event: stored.event })
}

fn sample(service: &Service, source_id: SourceId, kind: &str) -> Result<Chosen, Refusal> {
    let words = EventType::ALL.map(EventType::as_str).join(", ");
    let wrong = || Refusal::at("sample", format!("should be one of {words}"));
    let kind = EventType::parse(kind).ok_or_else(wrong)?;
    let samples: Vec<Value> =
        serde_json::from_str(include_str!("../../assets/samples.json")).unwrap_or_default();
    let body = samples.into_iter().find(|it| it["type"] == kind.as_str()).ok_or_else(wrong)?;
    Ok(unaccepted(service, source_id, kind, &body, format!("sample-{}", kind.as_str())))
}

fn given(service: &Service, source_id: SourceId, document: &Value) -> Result<Chosen, Refusal> {
    let kind = document["type"].as_str().and_then(EventType::parse).ok_or_else(|| {
        let words = EventType::ALL.map(EventType::as_str).join(", ");
        Refusal::at("document", format!("should be an object whose type is one of {words}"))
    })?;
    let message_id = document["messageId"].as_str().unwrap_or("given-here").to_owned();
    Ok(unaccepted(service, source_id, kind, document, message_id))
}

/// An event that is as if it were accepted now.
fn unaccepted(
    service: &Service,
    source_id: SourceId,
    kind: EventType,
    body: &Value,
    message_id: String,
) -> Chosen {
    let event = Event {
        source_id,
        kind: Some(kind),
        message_id,
        received_at: service.clock.now(),
        name: None,
        user_id: None,
        body: Bytes::from(body.to_string()),
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

impl ResultView {
    fn of(made: &NewAttempt) -> Self {
        Self {
            revision: made.revision_id.0,
            started_at: made.started_at.to_iso(),
            duration_us: made.duration_us,
            outcome: made.outcome.as_str().to_owned(),
            status: made.status,
            error: made.error.clone(),
            response_headers: made.response_headers.clone(),
            response_body: String::from_utf8_lossy(&made.response_body).into_owned(),
            response_truncated: made.response_truncated,
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
