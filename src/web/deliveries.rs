//! The list of deliveries: search with every filter, newest first, keyset pagination.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::badge::Badge;
use super::error::PageError;
use super::events;
use super::exports::Downloads;
use super::form::{Form, Query, with_query};
use super::layout::{Layout, page_with};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::attempt::Outcome;
use crate::domain::auth::Caller;
use crate::domain::delivery::{Reason, State as DeliveryState};
use crate::domain::event::EventType;
use crate::domain::job::JobAction;
use crate::pipeline::FieldError;
use crate::service::deliveries::DeliveryView;
use crate::service::{destination_path, mapping_path};

/// The path of the page.
pub(super) const PATH: &str = "/deliveries";

/// The filters that are always visible.
const BASIC_FILTERS: [&str; 5] = ["state", "destination", "name", "user_id", "since"];
/// The filters under "More filters".
const ADVANCED_FILTERS: [&str; 9] =
    ["until", "reason", "outcome", "status", "source", "mapping", "type", "message_id", "event"];

/// Parameters that select a page and do not filter.
pub(super) const PAGING: [&str; 2] = ["before", "limit"];

/// A delivery in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) state: Badge,
    /// The reason of a dead letter, or why the delivery is held.
    pub(super) reason: Option<String>,
    pub(super) event: Untrusted,
    pub(super) kind: Option<String>,
    pub(super) mapping: Option<Untrusted>,
    pub(super) attempts: u32,
    pub(super) last: Option<String>,
    pub(super) accepted: Option<RelativeTime>,
    pub(super) due: Option<RelativeTime>,
}

impl Row {
    pub(super) fn of(view: &DeliveryView, layout: &Layout) -> Self {
        let last = view.last_outcome.as_deref().map(|outcome| match view.last_status {
            Some(status) => format!("{} {status}", outcome.replace('_', " ")),
            None => outcome.replace('_', " "),
        });
        let name = view.event_name.clone().unwrap_or_else(|| view.message_id.clone());
        Self {
            id: view.id.clone(),
            state: Badge::of_state(&view.state),
            reason: view.reason.clone().or_else(|| view.held.clone()),
            event: name.into(),
            kind: view.event_type.clone(),
            mapping: view.mapping.clone().map(Untrusted::from),
            attempts: view.attempts,
            last,
            accepted: layout.time(&view.accepted_at),
            due: view.due_at.as_deref().and_then(|at| layout.time(at)),
        }
    }
}

/// A job over all deliveries that match the search.
struct BulkAction {
    label: &'static str,
    tone: &'static str,
    path: String,
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    form: Form,
    is_filtered: bool,
    /// Whether one of the advanced filters is set.
    has_advanced_filters: bool,
    faults: Vec<FieldError>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    downloads: Downloads,
    /// The time that a bounded scan stopped at, if there is more to scan.
    searched_back_to: Option<RelativeTime>,
    actions: Vec<BulkAction>,
    /// The search of events with these filters.
    events: String,
    sources: Vec<String>,
    destinations: Vec<String>,
    mappings: Vec<String>,
    layout: Layout,
}

impl DeliveriesPage {
    fn states(&self) -> Vec<&'static str> {
        DeliveryState::ALL.map(DeliveryState::as_str).to_vec()
    }

    fn reasons(&self) -> Vec<&'static str> {
        Reason::ALL.map(Reason::as_str).to_vec()
    }

    fn outcomes(&self) -> Vec<&'static str> {
        Outcome::ALL.map(Outcome::as_str).to_vec()
    }

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
    let conditions = form.conditions(&[]);
    let found = web.service.deliveries(&caller, &conditions).await;
    let found = form.page_or_faults(found)?;
    let at = |before: &str| {
        let filters = form.except(&["before"]);
        with_query(PATH, filters.chain([("before", before)]))
    };
    let first = form.non_empty("before").map(|_| at(""));
    let next = found.next.as_deref().map(at);
    let pipeline = web.service.pipeline(&caller).await?;
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let actions =
        if form.is_valid() && layout.may_operate() { bulk_actions(&form) } else { Vec::new() };
    let is_filtered = form.except(&PAGING).next().is_some();
    let page = DeliveriesPage {
        is_filtered,
        has_advanced_filters: ADVANCED_FILTERS.iter().any(|name| form.non_empty(name).is_some()),
        faults: form.other_faults(&[&BASIC_FILTERS[..], &ADVANCED_FILTERS].concat()),
        rows: found.items.iter().map(|view| Row::of(view, &layout)).collect(),
        first,
        next,
        searched_back_to: found.looked_to.as_deref().and_then(|at| layout.time(at)),
        actions,
        events: events::search_like(&form),
        sources: pipeline.sources.iter().map(|it| it.name.clone()).collect(),
        destinations: pipeline
            .destinations
            .iter()
            .map(|it| destination_path(&pipeline, it.id).join("/"))
            .collect(),
        mappings: pipeline
            .mappings
            .iter()
            .map(|it| mapping_path(&pipeline, it.id).join("/"))
            .collect(),
        downloads: Downloads::of(PATH, &form),
        form,
        layout,
    };
    page_with(status, &page)
}

/// The jobs that apply to the filters of the form.
fn bulk_actions(form: &Form) -> Vec<BulkAction> {
    let state = DeliveryState::parse(form.text("state"));
    let applies = |action: JobAction| state.is_none_or(|state| action.takes(state));
    let path = |action: JobAction| {
        let action = [("action", action.as_str())];
        with_query("/jobs/new", action.into_iter().chain(form.except(&PAGING)))
    };
    if form.except(&PAGING).next().is_none() {
        return Vec::new();
    }
    let all = [
        (
            JobAction::Redrive,
            if state.is_some() { "Redrive all…" } else { "Redrive dead letters…" },
        ),
        (
            JobAction::Discard,
            if state.is_some() { "Discard all…" } else { "Discard pending and dead…" },
        ),
    ];
    let actions = all.into_iter().filter(|(action, _)| applies(*action));
    actions
        .map(|(action, label)| BulkAction {
            label,
            tone: if action == JobAction::Discard { "danger" } else { "" },
            path: path(action),
        })
        .collect()
}
