//! Inspectors, the built-in test receivers: a live list of requests with their signature checks, and the
//! configured response. When inspectors are disabled, the page says how to enable them.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::badge::Badge;
use super::error::PageError;
use super::flash::{Flash, SeeOther};
use super::form::{Field, Form, Query};
use super::format::count;
use super::highlighted_json::HighlightedJson;
use super::layout::{Layout, page, page_with};
use super::role::Require;
use super::state::Web;
use super::time::{RelativeTime, TimeOfDay};
use super::untrusted::Untrusted;
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::Timestamp;
use crate::live::{Rendering, sse};
use crate::pipeline::FieldError;
use crate::service::ServiceError;
use crate::service::inspectors::{AnswerDocument, InspectorView, RequestView};
use crate::service::live::Watch;

/// The fields of the response form.
const FIELDS: [&str; 4] = ["statuses", "delay_ms", "body", "secret"];

/// A request in the list, rendered the same in the page and in the stream.
#[derive(Template)]
#[template(path = "inspector_row.html")]
struct Row {
    order: String,
    number: u64,
    at: Option<TimeOfDay>,
    method: String,
    path: Untrusted,
    webhook_id: Option<Untrusted>,
    attempt: u32,
    response: Badge,
    x_signature: Badge,
    webhook_signature: Badge,
    headers: Untrusted,
    pretty: HighlightedJson,
    raw: Untrusted,
    is_empty: bool,
    /// The original size in bytes of a truncated body.
    truncated_from: Option<String>,
}

impl Row {
    fn of(view: &RequestView) -> Self {
        let tone = if (200..300).contains(&view.answered) { "good" } else { "bad" };
        Self {
            order: format!("{} {:020}", view.arrived_at, view.number),
            number: view.number,
            at: Timestamp::parse_iso(&view.arrived_at).map(TimeOfDay),
            method: view.method.clone(),
            path: view.path.clone().into(),
            webhook_id: view.webhook_id.clone().map(Untrusted::from),
            attempt: view.tried,
            response: Badge::new(view.answered.to_string(), tone),
            x_signature: signature_badge(&view.x_signature),
            webhook_signature: signature_badge(&view.webhook_signature),
            headers: view.headers.clone().into(),
            pretty: HighlightedJson::of(&view.body),
            raw: view.body.clone().into(),
            is_empty: view.body.is_empty(),
            truncated_from: (!view.body_whole).then(|| count(view.body_bytes as u64)),
        }
    }
}

/// The result of a signature check.
fn signature_badge(result: &str) -> Badge {
    let tone = match result {
        "verified" => "good",
        "wrong" => "bad",
        "stale" => "warn",
        _ => "idle",
    };
    Badge::new(result, tone)
}

/// An inspector in the list.
struct InspectorRow {
    name: String,
    url: String,
    response: String,
    received: String,
    last: Option<(RelativeTime, Badge)>,
}

impl InspectorRow {
    fn of(view: &InspectorView, layout: &Layout) -> Self {
        let last = view.requests.first();
        Self {
            name: view.name.clone(),
            url: view.url.clone(),
            response: response_text(&view.answer),
            received: count(view.taken),
            last: last.and_then(|it| {
                Some((layout.time(&it.arrived_at)?, signature_badge(&it.x_signature)))
            }),
        }
    }
}

/// The configured response in short: `503,200 after 100 ms`.
fn response_text(answer: &AnswerDocument) -> String {
    match answer.delay_ms {
        0 => answer.statuses.clone(),
        delay_ms => format!("{} after {delay_ms} ms", answer.statuses),
    }
}

#[derive(Template)]
#[template(path = "inspectors.html")]
struct InspectorsPage {
    layout: Layout,
    form: Form,
    is_enabled: bool,
    rows: Vec<InspectorRow>,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(mut form): Query,
) -> Result<Response, PageError> {
    caller.reaches_everything()?;
    let is_enabled = web.service.inspectors.is_some();
    if !is_enabled {
        return page(&InspectorsPage { layout, form, is_enabled, rows: Vec::new() });
    }
    // A valid name has a page even before its first request.
    if let Some(name) = form.non_empty("name") {
        let view = web.service.inspector(&caller, name);
        if let Some(view) = form.or_faults(view)? {
            return Ok(SeeOther::to(path(&view.name)).into_response());
        }
    }
    let found = web.service.list_inspectors(&caller)?;
    let rows = found.iter().map(|view| InspectorRow::of(view, &layout)).collect();
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    page_with(status, &InspectorsPage { layout, form, is_enabled, rows })
}

/// The path of an inspector's page; names need no encoding.
fn path(name: &str) -> String {
    format!("/inspectors/{name}")
}

#[derive(Template)]
#[template(path = "inspector.html")]
struct InspectorPage {
    layout: Layout,
    /// The configured response, or the rejected input.
    form: Form,
    faults: Vec<FieldError>,
    search: Form,
    name: String,
    url: String,
    response: String,
    received: String,
    /// The destinations whose shared secrets verify signatures.
    verified_with: Vec<String>,
    has_secret: bool,
    rows: Vec<Row>,
}

impl InspectorPage {
    fn of(layout: Layout, view: &InspectorView, form: Option<Form>, search: Form) -> Self {
        let form = form.unwrap_or_else(|| {
            let answer = &view.answer;
            Form::of(vec![
                ("statuses".to_owned(), answer.statuses.clone()),
                ("delay_ms".to_owned(), answer.delay_ms.to_string()),
                ("body".to_owned(), answer.body.clone()),
            ])
        });
        let text = search.text("text").trim().to_lowercase();
        let contains_text = |it: &&RequestView| {
            let parts = [&it.path, &it.headers, &it.body];
            parts.iter().any(|part| part.to_lowercase().contains(&text))
        };
        Self {
            faults: form.other_faults(&FIELDS),
            form,
            rows: view.requests.iter().filter(contains_text).map(Row::of).collect(),
            search,
            name: view.name.clone(),
            url: view.url.clone(),
            response: response_text(&view.answer),
            received: count(view.taken),
            verified_with: view.checked_with.clone(),
            has_secret: view.has_secret,
            layout,
        }
    }

    fn search_field(&self) -> Field {
        self.search.field("text")
    }
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Path(name): Path<String>,
    Query(search): Query,
) -> Result<Response, PageError> {
    let view = web.service.inspector(&caller, &name)?;
    page(&InspectorPage::of(layout, &view, None, search))
}

/// Streams new requests as rows of the page until the session ends.
pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    Require(caller): Require<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let (session, after) = (web.session_key(&headers), sse::last_event_id(&headers));
    let watch = Watch { caller: &caller, session, after };
    let lines = web.service.watch_inspector(watch, Some(&name))?;
    let lines = lines.only_while(web.session_of(&headers));
    // Writing a row to a String does not fail.
    let row = |request: &_| Row::of(&RequestView::of(request)).render().unwrap_or_default();
    Ok(sse::response(lines, Rendering::Html, row))
}

/// Saves the configured response.
pub(super) async fn save(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    Path(name): Path<String>,
    mut form: Form,
) -> Result<Response, PageError> {
    let delay = form.non_empty("delay_ms").unwrap_or("0").parse();
    if delay.is_err() {
        form.fault("delay_ms", "should be a whole number of milliseconds");
    }
    let document = AnswerDocument {
        statuses: form.text("statuses").trim().to_owned(),
        delay_ms: delay.unwrap_or_default(),
        body: form.text("body").to_owned(),
        secret: match form.non_empty("forget_secret") {
            Some(_) => Some(String::new()),
            None => form.non_empty("secret").map(ToOwned::to_owned),
        },
    };
    let saved = if form.is_valid() {
        web.service.set_inspector(&operator, &name, document).await
    } else {
        Err(ServiceError::Invalid(Vec::new()))
    };
    match saved {
        Ok(view) => {
            let response = response_text(&view.answer);
            let flash = Flash::good(format!("Response set to {response}."));
            Ok(SeeOther::to(path(&view.name)).with_flash(flash).into_response())
        }
        Err(ServiceError::Invalid(faults)) => {
            form.add_faults(faults);
            let view = web.service.inspector(&operator, &name)?;
            let page = InspectorPage::of(layout, &view, Some(form), Form::default());
            page_with(StatusCode::BAD_REQUEST, &page)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Deletes the received requests and the configured response.
pub(super) async fn reset(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    Path(name): Path<String>,
) -> Result<SeeOther, PageError> {
    web.service.forget_inspector(&operator, &name).await?;
    let flash = Flash::good(format!("Inspector {name} was reset."));
    Ok(SeeOther::to("/inspectors").with_flash(flash))
}
