//! A mapping tried on an event: as it is written, which sends nothing, or as it is saved, which does.

use std::time::Duration;

use serde_json::Value;

use super::super::Web;
use super::super::badge::Badge;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::json::Json;
use super::super::moment::span;
use super::super::text::Outside;
use super::form::{Edit, FIELDS};
use crate::domain::auth::Operator;
use crate::domain::event::EventType;
use crate::pipeline::Target;
use crate::service::Refusal;
use crate::service::preview::Preview;
use crate::service::test_sends::{Names, ResultView, TestBody, TestView};

/// What came of it.
pub(in super::super) struct Shown {
    pub(in super::super) sent: bool,
    pub(in super::super) matched: bool,
    /// The part of the trigger that the event does not meet, and what stands there.
    pub(in super::super) unmet: Option<(Outside, Option<Outside>)>,
    pub(in super::super) event_id: Option<String>,
    pub(in super::super) event: Option<Json>,
    pub(in super::super) request: Option<Request>,
    pub(in super::super) error: Option<Outside>,
    pub(in super::super) console: Option<Outside>,
    pub(in super::super) answer: Option<Answer>,
}

/// The exact request.
pub(in super::super) struct Request {
    pub(in super::super) line: Outside,
    pub(in super::super) headers: Outside,
    pub(in super::super) body: Json,
}

/// What the receiver answered.
pub(in super::super) struct Answer {
    pub(in super::super) outcome: Badge,
    pub(in super::super) status: Option<u16>,
    pub(in super::super) took: String,
    pub(in super::super) headers: Outside,
    pub(in super::super) body: Json,
    pub(in super::super) is_empty: bool,
}

impl Shown {
    fn of(view: TestView) -> Self {
        let error = view.result.as_ref().and_then(|it| it.error.clone());
        Self {
            sent: view.sent,
            matched: view.matched,
            unmet: None,
            event_id: view.event,
            event: None,
            request: view.request.map(|it| Request {
                line: format!("{} {}", it.method, it.url).into(),
                headers: it.headers.into(),
                body: Json::of(&it.body),
            }),
            error: error.map(Outside::from),
            console: view.console.map(Outside::from),
            answer: view.result.filter(|_| view.sent).map(Answer::of),
        }
    }

    fn of_preview(preview: Preview) -> Self {
        let unmet = preview.unmet.map(|unmet| {
            let found = unmet.path.map(|path| match unmet.found {
                Some(found) => format!("{path} is {found}"),
                None => format!("{path} is missing"),
            });
            (unmet.condition.into(), found.map(Outside::from))
        });
        Self { unmet, event: Some(Json::of(&preview.event)), ..Self::of(preview.test) }
    }
}

impl Answer {
    fn of(result: ResultView) -> Self {
        Self {
            outcome: Badge::of_outcome(&result.outcome),
            status: result.status,
            took: span(Duration::from_micros(result.duration_us)),
            headers: result.response_headers.into(),
            body: Json::of(&result.response_body),
            is_empty: result.response_body.is_empty(),
        }
    }
}

/// The event that is chosen in the form; none when it cannot be read, the form then holding why.
fn chosen(form: &mut Form) -> Option<TestBody> {
    let mut body = TestBody::default();
    match form.text("on") {
        "event" => body.event = Some(form.text("event").trim().to_owned()),
        "document" => match serde_json::from_str::<Value>(form.text("document")) {
            Ok(document) => body.document = Some(document),
            Err(error) => {
                form.fault("document", format!("is not JSON: {error}"));
                return None;
            }
        },
        kind => body.sample = EventType::parse(kind).map(|kind| kind.as_str().to_owned()),
    }
    Some(body)
}

/// Notes in the form why nothing was tried.
fn refused(form: &mut Form, refusal: Refusal) -> Result<(), Failure> {
    match refusal {
        Refusal::Invalid(faults) => form.place_faults(&FIELDS, faults),
        Refusal::Missing(what) => {
            let field = if form.text("on") == "event" { "event" } else { "on" };
            form.fault(field, format!("there is no {what}"));
        }
        Refusal::Conflict(words) => form.fault("", words),
        other @ (Refusal::Malformed(_)
        | Refusal::Forbidden(_)
        | Refusal::Busy(_)
        | Refusal::Stale(_)
        | Refusal::Store(_)
        | Refusal::Secret(_)) => return Err(other.into()),
    }
    Ok(())
}

/// What the mapping as it is written makes of the event; none when it is not right yet.
pub(super) async fn preview(
    web: &Web,
    operator: &Operator,
    (source, destination, name): (&str, &str, Option<&str>),
    edit: &mut Edit,
) -> Result<Option<Shown>, Failure> {
    let document = edit.document(true);
    let Some(on) = chosen(&mut edit.form).filter(|_| edit.form.is_right()) else {
        return Ok(None);
    };
    // The name says nothing of what is sent: a new one does without.
    let name = name.unwrap_or("new").to_owned();
    let target = Target::Mapping(source.to_owned(), destination.to_owned(), name);
    match web.service.preview(operator, &target, document, &on).await {
        Ok(preview) => Ok(Some(Shown::of_preview(preview))),
        Err(refusal) => {
            refused(&mut edit.form, refusal)?;
            Ok(None)
        }
    }
}

/// Sends what the mapping as it is saved makes of the event.
pub(super) async fn test(
    web: &Web,
    operator: &Operator,
    names: &Names,
    edit: &mut Edit,
) -> Result<Option<Shown>, Failure> {
    let Some(on) = chosen(&mut edit.form) else { return Ok(None) };
    match web.service.test_mapping(operator, names, &TestBody { send: true, ..on }).await {
        Ok(view) => Ok(Some(Shown::of(view))),
        Err(refusal) => {
            refused(&mut edit.form, refusal)?;
            Ok(None)
        }
    }
}
