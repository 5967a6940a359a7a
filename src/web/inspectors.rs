//! Inspectors: what arrived at each and whether its signatures are right, as it arrives; what each
//! answers, set here to rehearse failures. Where the settings allow none it is said how they would.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::badge::Badge;
use super::failure::Failure;
use super::form::{Asked, Field, Form};
use super::json::Json;
use super::moment::{Moment, OfDay};
use super::shell::{As, Flash, Moved, Shell, page, page_with};
use super::text::{Outside, count};
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::Timestamp;
use crate::live::sse;
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::service::inspectors::{AnswerDocument, InspectorView, RequestView};

/// The fields of the form that sets an answer.
const FIELDS: [&str; 4] = ["statuses", "delay_ms", "body", "secret"];

/// A request in the list: the same whether it was there or arrived.
#[derive(Template)]
#[template(path = "inspector_row.html")]
struct Row {
    order: String,
    number: u64,
    at: Option<OfDay>,
    method: String,
    path: Outside,
    webhook_id: Option<Outside>,
    tried: u32,
    answered: Badge,
    x_signature: Badge,
    webhook_signature: Badge,
    headers: Outside,
    pretty: Json,
    raw: Outside,
    is_empty: bool,
    /// How long the body was, where not all of it is kept.
    cut_from: Option<String>,
}

impl Row {
    fn of(view: &RequestView) -> Self {
        let tone = if (200..300).contains(&view.answered) { "good" } else { "bad" };
        Self {
            order: format!("{} {:020}", view.arrived_at, view.number),
            number: view.number,
            at: Timestamp::parse_iso(&view.arrived_at).map(OfDay),
            method: view.method.clone(),
            path: view.path.clone().into(),
            webhook_id: view.webhook_id.clone().map(Outside::from),
            tried: view.tried,
            answered: Badge::new(view.answered.to_string(), tone),
            x_signature: verdict(&view.x_signature),
            webhook_signature: verdict(&view.webhook_signature),
            headers: view.headers.clone().into(),
            pretty: Json::of(&view.body),
            raw: view.body.clone().into(),
            is_empty: view.body.is_empty(),
            cut_from: (!view.body_whole).then(|| count(view.body_bytes as u64)),
        }
    }
}

/// What was found of a signature.
fn verdict(word: &str) -> Badge {
    let tone = match word {
        "verified" => "good",
        "wrong" => "bad",
        "stale" => "warn",
        _ => "idle",
    };
    Badge::new(word, tone)
}

/// An inspector in the list of them.
struct Line {
    name: String,
    url: String,
    answers: String,
    taken: String,
    last: Option<(Moment, Badge)>,
}

impl Line {
    fn of(view: &InspectorView, shell: &Shell) -> Self {
        let last = view.requests.first();
        Self {
            name: view.name.clone(),
            url: view.url.clone(),
            answers: answers(&view.answer),
            taken: count(view.taken),
            last: last.and_then(|it| Some((shell.told(&it.arrived_at)?, verdict(&it.x_signature)))),
        }
    }
}

/// What is answered, in a few words.
fn answers(answer: &AnswerDocument) -> String {
    match answer.delay_ms {
        0 => answer.statuses.clone(),
        delay_ms => format!("{} after {delay_ms} ms", answer.statuses),
    }
}

#[derive(Template)]
#[template(path = "inspectors.html")]
struct InspectorsPage {
    shell: Shell,
    form: Form,
    is_on: bool,
    lines: Vec<Line>,
}

impl InspectorsPage {
    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(mut form): Asked,
) -> Result<Response, Failure> {
    caller.reaches_everything()?;
    let is_on = web.service.inspectors.is_some();
    if !is_on {
        return page(&InspectorsPage { shell, form, is_on, lines: Vec::new() });
    }
    // A name that was typed leads to its page, whether anything has arrived there or not.
    if let Some(name) = form.filled("name") {
        match web.service.inspector(&caller, name) {
            Ok(view) => return Ok(Moved::to(address(&view.name)).into_response()),
            Err(Refusal::Invalid(faults)) => form.take_faults(faults),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let found = web.service.list_inspectors(&caller)?;
    let lines = found.iter().map(|view| Line::of(view, &shell)).collect();
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    page_with(status, &InspectorsPage { shell, form, is_on, lines })
}

/// Where an inspector's page is; a name has nothing in it that would have to be encoded.
fn address(name: &str) -> String {
    format!("/inspectors/{name}")
}

#[derive(Template)]
#[template(path = "inspector.html")]
struct InspectorPage {
    shell: Shell,
    /// The answer as it is or as it was typed.
    form: Form,
    faults: Vec<Fault>,
    search: Form,
    name: String,
    url: String,
    answers: String,
    taken: String,
    checked_with: Vec<String>,
    has_secret: bool,
    rows: Vec<Row>,
}

impl InspectorPage {
    fn of(shell: Shell, view: &InspectorView, form: Option<Form>, search: Form) -> Self {
        let form = form.unwrap_or_else(|| {
            let answer = &view.answer;
            Form::of(vec![
                ("statuses".to_owned(), answer.statuses.clone()),
                ("delay_ms".to_owned(), answer.delay_ms.to_string()),
                ("body".to_owned(), answer.body.clone()),
            ])
        });
        let text = search.text("text").trim().to_lowercase();
        let holds = |it: &&RequestView| {
            let parts = [&it.path, &it.headers, &it.body];
            parts.iter().any(|part| part.to_lowercase().contains(&text))
        };
        Self {
            faults: form.other_faults(&FIELDS),
            form,
            rows: view.requests.iter().filter(holds).map(Row::of).collect(),
            search,
            name: view.name.clone(),
            url: view.url.clone(),
            answers: answers(&view.answer),
            taken: count(view.taken),
            checked_with: view.checked_with.clone(),
            has_secret: view.has_secret,
            shell,
        }
    }

    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    fn sought(&self) -> Field {
        self.search.field("text")
    }
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(name): Path<String>,
    Asked(search): Asked,
) -> Result<Response, Failure> {
    let view = web.service.inspector(&caller, &name)?;
    page(&InspectorPage::of(shell, &view, None, search))
}

/// What arrives from now on, each request as a row of the page, until the session ends.
pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    As(caller): As<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let lines = web.service.watch_inspector(&caller, Some(&name))?;
    let lines = lines.only_while(web.session_of(&headers));
    // A row has text of ours and text that is escaped: it can always be written.
    Ok(sse::response(lines, |view| Row::of(view).render().unwrap_or_default()))
}

pub(super) async fn set(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    Path(name): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let delay = form.filled("delay_ms").unwrap_or("0").parse();
    if delay.is_err() {
        form.fault("delay_ms", "should be a whole number of milliseconds");
    }
    let document = AnswerDocument {
        statuses: form.text("statuses").trim().to_owned(),
        delay_ms: delay.unwrap_or_default(),
        body: form.text("body").to_owned(),
        secret: match form.filled("forget_secret") {
            Some(_) => Some(String::new()),
            None => form.filled("secret").map(ToOwned::to_owned),
        },
    };
    let set = if form.is_right() {
        web.service.set_inspector(&operator, &name, document).await
    } else {
        Err(Refusal::Invalid(Vec::new()))
    };
    match set {
        Ok(view) => {
            let told = Flash::good(format!("It answers {} from now on.", answers(&view.answer)));
            Ok(Moved::to(address(&view.name)).telling(told).into_response())
        }
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            let view = web.service.inspector(&operator, &name)?;
            let page = InspectorPage::of(shell, &view, Some(form), Form::default());
            page_with(StatusCode::BAD_REQUEST, &page)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

pub(super) async fn forget(
    State(web): State<Arc<Web>>,
    As(operator): As<Operator>,
    Path(name): Path<String>,
) -> Result<Moved, Failure> {
    web.service.forget_inspector(&operator, &name).await?;
    let told =
        Flash::good(format!("Inspector {name} has forgotten what arrived and what it was told."));
    Ok(Moved::to("/inspectors").telling(told))
}
