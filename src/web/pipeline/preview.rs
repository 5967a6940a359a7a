//! The preview of a mapping on one event: rendered from the form without sending, or sent as a test from
//! the stored mapping.

use std::time::Duration;

use super::super::badge::Badge;
use super::super::error::PageError;
use super::super::form::Form;
use super::super::format::duration;
use super::super::highlighted_json::HighlightedJson;
use super::super::state::Web;
use super::super::untrusted::Untrusted;
use super::mapping_form::{FIELDS, MappingForm};
use crate::domain::auth::Operator;
use crate::domain::event::EventType;
use crate::json::RawJson;
use crate::pipeline::Target;
use crate::service::ServiceError;
use crate::service::attempt_view::ResultView;
use crate::service::preview::Preview;
use crate::service::test_sends::{Names, TestBody, TestView};

/// The rendered request, and the response to a test.
pub(super) struct Rendered {
    pub(super) sent: bool,
    pub(super) matched: bool,
    /// The condition of the trigger that is not met, and the value found.
    pub(super) unmet: Option<(Untrusted, Option<Untrusted>)>,
    pub(super) event_id: Option<String>,
    pub(super) event: Option<HighlightedJson>,
    pub(super) request: Option<Request>,
    pub(super) error: Option<Untrusted>,
    pub(super) console: Option<Untrusted>,
    pub(super) response: Option<Response>,
}

/// The exact request.
pub(super) struct Request {
    pub(super) line: Untrusted,
    pub(super) headers: Untrusted,
    pub(super) body: HighlightedJson,
}

/// The response of the receiver.
pub(super) struct Response {
    pub(super) outcome: Badge,
    pub(super) status: Option<u16>,
    pub(super) duration: String,
    pub(super) headers: Untrusted,
    pub(super) body: HighlightedJson,
    pub(super) is_empty: bool,
}

impl Rendered {
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
                body: HighlightedJson::of(&it.body),
            }),
            error: error.map(Untrusted::from),
            console: view.console.map(Untrusted::from),
            response: view.result.filter(|_| view.sent).map(Response::of),
        }
    }

    fn of_preview(preview: Preview) -> Self {
        let unmet = preview.unmet.map(|unmet| {
            let found = unmet.path.map(|path| match unmet.found {
                Some(found) => format!("{path} is {found}"),
                None => format!("{path} is missing"),
            });
            (unmet.condition.into(), found.map(Untrusted::from))
        });
        Self { unmet, event: Some(HighlightedJson::of(&preview.event)), ..Self::of(preview.test) }
    }
}

impl Response {
    fn of(result: ResultView) -> Self {
        Self {
            outcome: Badge::of_outcome(&result.outcome),
            status: result.status,
            duration: duration(Duration::from_micros(result.duration_us)),
            headers: result.response_headers.into(),
            body: HighlightedJson::of(&result.response_body),
            is_empty: result.response_body.is_empty(),
        }
    }
}

/// The event chosen in the form; none when it is not valid JSON, which becomes a fault.
fn chosen_event(form: &mut Form) -> Option<TestBody> {
    let mut body = TestBody::default();
    match form.text("on") {
        "event" => body.event = Some(form.text("event").trim().to_owned()),
        "document" => match RawJson::of(form.text("document")) {
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

/// Turns a refusal into faults of the form.
fn place_refusal(form: &mut Form, refusal: ServiceError) -> Result<(), PageError> {
    match refusal {
        ServiceError::Invalid(faults) => form.place_faults(&FIELDS, faults),
        ServiceError::Missing(what) => {
            let field = if form.text("on") == "event" { "event" } else { "on" };
            form.fault(field, format!("there is no {what}"));
        }
        ServiceError::Conflict(words) => form.fault("", words),
        other @ (ServiceError::Malformed(_)
        | ServiceError::Forbidden(_)
        | ServiceError::TooManyStreams(_)
        | ServiceError::Stale(_)
        | ServiceError::NotActive(_)
        | ServiceError::Store(_)
        | ServiceError::Secret(_)) => return Err(other.into()),
    }
    Ok(())
}

/// Renders the mapping in the form for the chosen event; none when the form has faults.
pub(super) async fn preview(
    web: &Web,
    operator: &Operator,
    target: &Target,
    edit: &mut MappingForm,
) -> Result<Option<Rendered>, PageError> {
    // A preview does not depend on `enabled`.
    edit.enabled = true;
    let document = edit.document();
    let Some(event) = chosen_event(&mut edit.form).filter(|_| edit.form.is_valid()) else {
        return Ok(None);
    };
    match web.service.preview(operator, target, document, &event).await {
        Ok(preview) => Ok(Some(Rendered::of_preview(preview))),
        Err(refusal) => {
            place_refusal(&mut edit.form, refusal)?;
            Ok(None)
        }
    }
}

/// Sends the request that the stored mapping renders for the chosen event.
pub(super) async fn send_test(
    web: &Web,
    operator: &Operator,
    names: &Names,
    edit: &mut MappingForm,
) -> Result<Option<Rendered>, PageError> {
    let Some(event) = chosen_event(&mut edit.form) else { return Ok(None) };
    match web.service.test_mapping(operator, names, &TestBody { send: true, ..event }).await {
        Ok(view) => Ok(Some(Rendered::of(view))),
        Err(refusal) => {
            place_refusal(&mut edit.form, refusal)?;
            Ok(None)
        }
    }
}
