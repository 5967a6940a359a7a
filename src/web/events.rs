//! Events: search, newest first, and the page of one with its routing: a row for each mapping, whether or not it
//! made a delivery.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::badge::Badge;
use super::error::PageError;
use super::exports::Downloads;
use super::form::{Form, Query, with_query};
use super::format::encoded;
use super::highlighted_json::HighlightedJson;
use super::layout::{Layout, page, page_with};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::auth::Caller;
use crate::domain::event::EventType;
use crate::pipeline::FieldError;
use crate::service::event_view::EventView;
use crate::service::explain::{Explanation, MappingExplanation, Verdict};

/// The path of the search.
pub(super) const PATH: &str = "/events";

/// The filters that are always visible.
const BASIC_FILTERS: [&str; 5] = ["name", "user_id", "message_id", "where", "since"];
/// The filters under "More filters".
const ADVANCED_FILTERS: [&str; 5] = ["until", "type", "source", "anonymous_id", "rejected"];
/// Parameters that select a page and do not filter.
const PAGING: [&str; 2] = ["before", "limit"];
/// The filters that the searches of events and deliveries share.
const SHARED: [&str; 7] = ["name", "user_id", "message_id", "since", "until", "type", "source"];

/// The search of events with the filters of a search of deliveries, as far as events have them.
pub(super) fn search_like(form: &Form) -> String {
    with_query(PATH, form.except(&PAGING).filter(|(name, _)| SHARED.contains(name)))
}

struct Row {
    id: String,
    name: Untrusted,
    kind: Option<String>,
    user_id: Option<Untrusted>,
    source: Option<Untrusted>,
    received: Option<RelativeTime>,
    rejection: Option<Untrusted>,
}

impl Row {
    fn of(view: &EventView, layout: &Layout) -> Self {
        let name = view.name.clone().unwrap_or_else(|| view.message_id.clone());
        Self {
            id: view.id.clone(),
            name: name.into(),
            kind: view.kind.clone(),
            user_id: view.user_id.clone().map(Untrusted::from),
            source: view.source.clone().map(Untrusted::from),
            received: layout.time(&view.received_at),
            rejection: view.rejection.clone().map(Untrusted::from),
        }
    }
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    layout: Layout,
    form: Form,
    is_filtered: bool,
    /// Whether one of the advanced filters is set.
    has_advanced_filters: bool,
    faults: Vec<FieldError>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    downloads: Downloads,
    /// The time that the search stopped at, if there is more to search.
    searched_back_to: Option<RelativeTime>,
    sources: Vec<String>,
}

impl EventsPage {
    fn types(&self) -> Vec<&'static str> {
        EventType::ALL.map(EventType::as_str).to_vec()
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(mut form): Query,
) -> Result<Response, PageError> {
    let found = web.service.events(&caller, &form.conditions(&[])).await;
    let found = form.page_or_faults(found)?;
    let at = |before: &str| {
        let filters = form.except(&["before"]);
        with_query(PATH, filters.chain([("before", before)]))
    };
    let pipeline = web.service.pipeline(&caller).await?;
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let is_filtered = form.except(&PAGING).next().is_some();
    let page = EventsPage {
        is_filtered,
        has_advanced_filters: ADVANCED_FILTERS.iter().any(|name| form.non_empty(name).is_some()),
        faults: form.other_faults(&[&BASIC_FILTERS[..], &ADVANCED_FILTERS].concat()),
        rows: found.items.iter().map(|view| Row::of(view, &layout)).collect(),
        first: form.non_empty("before").map(|_| at("")),
        next: found.next.as_deref().map(at),
        searched_back_to: found.looked_to.as_deref().and_then(|at| layout.time(at)),
        sources: pipeline.sources.iter().map(|it| it.name.clone()).collect(),
        downloads: Downloads::of(PATH, &form),
        form,
        layout,
    };
    page_with(status, &page)
}

/// The routing of the event to one mapping.
struct Routing {
    mapping: Option<Untrusted>,
    verdict: Badge,
    because: Untrusted,
    /// The id of its delivery.
    delivery: Option<String>,
}

impl Routing {
    fn of(view: MappingExplanation) -> Self {
        let state = view.delivery.as_ref().map(|it| Badge::of_state(&it.state));
        Self {
            mapping: view.mapping.map(Untrusted::from),
            verdict: state.unwrap_or_else(|| verdict(view.verdict)),
            because: view.because.into(),
            delivery: view.delivery.map(|it| it.id),
        }
    }
}

/// Why there is no delivery, in short.
fn verdict(verdict: Verdict) -> Badge {
    match verdict {
        Verdict::Matched => Badge::new("matched", "good"),
        Verdict::Rejected => Badge::new("rejected", "bad"),
        Verdict::Faulty => Badge::new("faulty", "bad"),
        Verdict::Disabled => Badge::new("disabled", "warn"),
        Verdict::MadeLater => Badge::new("created later", "idle"),
        Verdict::Trigger => Badge::new("no match", "idle"),
        Verdict::Integrations => Badge::new("excluded", "idle"),
        Verdict::Unclear => Badge::new("unknown", "warn"),
    }
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    layout: Layout,
    id: String,
    title: Untrusted,
    kind: Option<String>,
    message_id: Untrusted,
    /// The userId, and the search of the user's events.
    user: Option<(Untrusted, String)>,
    /// The source and its page.
    source: Option<(Untrusted, String)>,
    received: Option<RelativeTime>,
    rejection: Option<Untrusted>,
    body: HighlightedJson,
    routing: Vec<Routing>,
    deliveries: usize,
    /// Other events with the same messageId.
    others: Vec<String>,
    notes: Vec<Untrusted>,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let explained = web.service.explain(&caller, &id).await?;
    page(&EventPage::of(layout, explained))
}

impl EventPage {
    fn of(layout: Layout, explained: Explanation) -> Self {
        let Explanation { event, mappings, others, notes } = explained;
        Self {
            title: event.name.clone().unwrap_or_else(|| event.message_id.clone()).into(),
            kind: event.kind,
            message_id: event.message_id.into(),
            user: event.user_id.map(|id| {
                let path = with_query(PATH, [("user_id", id.as_str())]);
                (id.into(), path)
            }),
            source: event.source.map(|name| {
                let path = format!("/sources/{}", encoded(&name));
                (name.into(), path)
            }),
            received: layout.time(&event.received_at),
            rejection: event.rejection.map(Untrusted::from),
            body: HighlightedJson::of(event.body.get()),
            deliveries: mappings.iter().filter(|it| it.delivery.is_some()).count(),
            routing: mappings.into_iter().map(Routing::of).collect(),
            others,
            notes: notes.into_iter().map(Untrusted::from).collect(),
            id: event.id,
            layout,
        }
    }
}
