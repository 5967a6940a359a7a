//! Events as they are accepted: the newest of them, those that come while one looks, and why any were
//! rejected. A script keeps the list going; without one it is as new as the page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::Web;
use super::failure::Failure;
use super::form::{Asked, Field, Form, address};
use super::json::Json;
use super::moment::OfDay;
use super::shell::{As, Shell, page_with};
use super::text::Outside;
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::live::sse;
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::service::events::EventView;

/// Where the page is.
pub(super) const PAGE: &str = "/live";
/// Where what comes is told.
pub(super) const STREAM: &str = "/live/stream";
/// The newest events that the page begins with.
const NEWEST: &str = "50";

/// An event in the list: the same whether it was there or came.
#[derive(Template)]
#[template(path = "live_row.html")]
struct Row {
    id: String,
    at: Option<OfDay>,
    kind: Option<String>,
    name: Option<Outside>,
    user_id: Option<Outside>,
    source: Option<Outside>,
    message_id: Outside,
    rejection: Option<Outside>,
    pretty: Json,
    raw: Outside,
}

impl Row {
    fn of(view: &EventView) -> Self {
        let outside = |text: &Option<String>| text.clone().map(Outside::from);
        Self {
            id: view.id.clone(),
            at: Timestamp::parse_iso(&view.received_at).map(OfDay),
            kind: view.kind.clone(),
            name: outside(&view.name),
            user_id: outside(&view.user_id),
            source: outside(&view.source),
            message_id: view.message_id.clone().into(),
            rejection: outside(&view.rejection),
            pretty: Json::of(view.body.get()),
            raw: view.body.get().to_owned().into(),
        }
    }
}

/// Whether the search finds an event: by the text of what is shown of it, whatever its case.
fn holds(view: &EventView, text: &str) -> bool {
    let text = text.to_lowercase();
    let shown = [&view.kind, &view.name, &view.user_id, &view.source, &view.rejection];
    let shown = shown.into_iter().flatten().map(String::as_str);
    let mut all = shown.chain([view.message_id.as_str(), view.body.get()]);
    all.any(|part| part.to_lowercase().contains(&text))
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    shell: Shell,
    form: Form,
    faults: Vec<Fault>,
    rows: Vec<Row>,
    sources: Vec<String>,
    is_filtered: bool,
    /// Where the script hears what comes, and where it gets what came meanwhile; none when what was
    /// asked for is not right.
    stream: Option<(String, String)>,
}

impl LivePage {
    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    fn types(&self) -> [&'static str; 7] {
        EventType::ALL.map(EventType::as_str)
    }
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(mut form): Asked,
) -> Result<Response, Failure> {
    let mut conditions = form.conditions(&["text"]);
    conditions.push(("limit".to_owned(), NEWEST.to_owned()));
    let mut found = match web.service.events(&caller, &conditions).await {
        Ok(found) => found.items,
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            Vec::new()
        }
        Err(refusal) => return Err(refusal.into()),
    };
    if let Some(text) = form.filled("text") {
        found.retain(|view| holds(view, text));
    }
    let of_source = |path: &str| address(path, [("source", form.text("source").trim())]);
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let pipeline = web.service.pipeline(&caller).await?;
    let is_filtered = form.others(&[]).next().is_some();
    let page = LivePage {
        stream: form.is_right().then(|| (of_source(STREAM), of_source(PAGE))),
        faults: form.other_faults(&["source", "type", "text"]),
        rows: found.iter().map(Row::of).collect(),
        sources: pipeline.sources.iter().map(|source| source.name.clone()).collect(),
        is_filtered,
        form,
        shell,
    };
    page_with(status, &page)
}

/// What comes from now on, each event as a row of the page, until the session ends.
pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    As(caller): As<Caller>,
    headers: HeaderMap,
    Asked(form): Asked,
) -> Result<Response, Failure> {
    let lines = web.service.watch_events(&caller, &form.conditions(&[])).await?;
    let lines = lines.only_while(web.session_of(&headers));
    // A row has text of ours and text that is escaped: it can always be written.
    Ok(sse::response(lines, |view| Row::of(view).render().unwrap_or_default()))
}
