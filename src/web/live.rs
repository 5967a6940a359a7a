//! The live list of accepted and rejected events. A script appends new events from a stream; without
//! JavaScript the list is static.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::error::PageError;
use super::form::{Form, Query, with_query};
use super::highlighted_json::HighlightedJson;
use super::layout::{Layout, page_with};
use super::role::Require;
use super::state::Web;
use super::time::TimeOfDay;
use super::untrusted::Untrusted;
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::live::{Rendering, sse};
use crate::pipeline::FieldError;
use crate::service::event_view::EventView;
use crate::service::live::Watch;

/// The path of the page.
pub(super) const PAGE: &str = "/live";
/// The path of its stream.
pub(super) const STREAM: &str = "/live/stream";
/// Events in the page at first.
const INITIAL_LIMIT: &str = "50";

/// An event in the list, rendered the same in the page and in the stream.
#[derive(Template)]
#[template(path = "live_row.html")]
struct Row {
    id: String,
    at: Option<TimeOfDay>,
    kind: Option<String>,
    name: Option<Untrusted>,
    user_id: Option<Untrusted>,
    source: Option<Untrusted>,
    message_id: Untrusted,
    rejection: Option<Untrusted>,
    pretty: HighlightedJson,
    raw: Untrusted,
}

impl Row {
    fn of(view: &EventView) -> Self {
        let untrusted = |text: &Option<String>| text.clone().map(Untrusted::from);
        Self {
            id: view.id.clone(),
            at: Timestamp::parse_iso(&view.received_at).map(TimeOfDay),
            kind: view.kind.clone(),
            name: untrusted(&view.name),
            user_id: untrusted(&view.user_id),
            source: untrusted(&view.source),
            message_id: view.message_id.clone().into(),
            rejection: untrusted(&view.rejection),
            pretty: HighlightedJson::of(view.body.get()),
            raw: view.body.get().to_owned().into(),
        }
    }
}

/// Whether the displayed text of an event contains the search text, ignoring case.
fn contains_text(view: &EventView, text: &str) -> bool {
    let text = text.to_lowercase();
    let shown = [&view.kind, &view.name, &view.user_id, &view.source, &view.rejection];
    let shown = shown.into_iter().flatten().map(String::as_str);
    let mut all = shown.chain([view.message_id.as_str(), view.body.get()]);
    all.any(|part| part.to_lowercase().contains(&text))
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    layout: Layout,
    form: Form,
    faults: Vec<FieldError>,
    rows: Vec<Row>,
    sources: Vec<String>,
    is_filtered: bool,
    /// The paths of the stream and of the page that catches up after a disconnect; none for an invalid
    /// search.
    stream: Option<(String, String)>,
}

impl LivePage {
    fn types(&self) -> [&'static str; 7] {
        EventType::ALL.map(EventType::as_str)
    }
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(mut form): Query,
) -> Result<Response, PageError> {
    let mut conditions = form.conditions(&["text"]);
    conditions.push(("limit".to_owned(), INITIAL_LIMIT.to_owned()));
    let found = web.service.events(&caller, &conditions).await;
    let mut found = form.page_or_faults(found)?.items;
    if let Some(text) = form.non_empty("text") {
        found.retain(|view| contains_text(view, text));
    }
    let of_source = |path: &str| with_query(path, [("source", form.text("source").trim())]);
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let pipeline = web.service.pipeline(&caller).await?;
    let is_filtered = form.except(&[]).next().is_some();
    let page = LivePage {
        stream: form.is_valid().then(|| (of_source(STREAM), of_source(PAGE))),
        faults: form.other_faults(&["source", "type", "text"]),
        rows: found.iter().map(Row::of).collect(),
        sources: pipeline.sources.iter().map(|source| source.name.clone()).collect(),
        is_filtered,
        form,
        layout,
    };
    page_with(status, &page)
}

/// Streams new events as rows of the page until the session ends.
pub(super) async fn stream(
    State(web): State<Arc<Web>>,
    Require(caller): Require<Caller>,
    headers: HeaderMap,
    Query(form): Query,
) -> Result<Response, PageError> {
    let (session, after) = (web.session_key(&headers), sse::last_event_id(&headers));
    let watch = Watch { caller: &caller, session, after };
    let lines = web.service.watch_events(watch, &form.conditions(&[])).await?;
    let lines = lines.only_while(web.session_of(&headers));
    // Writing a row to a String does not fail.
    let row = |event: &_| Row::of(&EventView::live(event)).render().unwrap_or_default();
    Ok(sse::response(lines, Rendering::Html, row))
}
