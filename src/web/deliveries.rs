//! Deliveries: searched with every filter there is, newest first, a page at a time.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::failure::Failure;
use super::form::{Asked, Field, Form, address};
use super::moment::Moment;
use super::shell::{As, Shell, page_with};
use super::text::Outside;
use crate::domain::attempt::Outcome;
use crate::domain::auth::Caller;
use crate::domain::delivery::{Reason, State as DeliveryState};
use crate::domain::event::EventType;
use crate::domain::job::JobAction;
use crate::pipeline::Fault;
use crate::service::deliveries::{DeliveryView, Page};
use crate::service::{Refusal, destination_path, mapping_path};

/// Where the list is.
pub(super) const LIST: &str = "/deliveries";

/// The filters that are always in sight, as the list names them.
const FIRST: [&str; 5] = ["state", "destination", "name", "user_id", "since"];
/// Those that are opened when they are wanted.
const OTHERS: [&str; 9] =
    ["until", "reason", "outcome", "status", "source", "mapping", "type", "message_id", "event"];

/// What says which page of the list it is, and narrows nothing.
pub(super) const PAGING: [&str; 2] = ["before", "limit"];

/// A delivery in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) state: Badge,
    /// Why it is dead, or why it waits.
    pub(super) why: Option<String>,
    pub(super) event: Outside,
    pub(super) kind: Option<String>,
    pub(super) mapping: Option<Outside>,
    pub(super) attempts: u32,
    pub(super) last: Option<String>,
    pub(super) accepted: Option<Moment>,
    pub(super) due: Option<Moment>,
}

impl Row {
    pub(super) fn of(view: &DeliveryView, shell: &Shell) -> Self {
        let last = view.last_outcome.as_deref().map(|outcome| match view.last_status {
            Some(status) => format!("{} {status}", outcome.replace('_', " ")),
            None => outcome.replace('_', " "),
        });
        let name = view.event_name.clone().unwrap_or_else(|| view.message_id.clone());
        Self {
            id: view.id.clone(),
            state: Badge::of_state(&view.state),
            why: view.reason.clone().or_else(|| view.held.clone()),
            event: name.into(),
            kind: view.event_type.clone(),
            mapping: view.mapping.clone().map(Outside::from),
            attempts: view.attempts,
            last,
            accepted: shell.told(&view.accepted_at),
            due: view.due_at.as_deref().and_then(|at| shell.told(at)),
        }
    }
}

/// A job over what a search shows, and where it is asked for.
struct Offer {
    words: &'static str,
    tone: &'static str,
    to: String,
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    form: Form,
    is_filtered: bool,
    /// Whether one of the filters that are out of sight is set.
    is_deep: bool,
    faults: Vec<Fault>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    /// Until when this page looked back, where there is more to look at.
    looked_to: Option<Moment>,
    offers: Vec<Offer>,
    sources: Vec<String>,
    destinations: Vec<String>,
    mappings: Vec<String>,
    shell: Shell,
}

impl DeliveriesPage {
    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    fn states(&self) -> [&'static str; 5] {
        DeliveryState::ALL.map(DeliveryState::as_str)
    }

    fn reasons(&self) -> [&'static str; 6] {
        Reason::ALL.map(Reason::as_str)
    }

    fn outcomes(&self) -> [&'static str; 19] {
        Outcome::ALL.map(Outcome::as_str)
    }

    fn types(&self) -> [&'static str; 7] {
        EventType::ALL.map(EventType::as_str)
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(mut form): Asked,
) -> Result<Response, Failure> {
    let conditions = form.conditions(&[]);
    let found = match web.service.deliveries(&caller, &conditions).await {
        Ok(found) => found,
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            Page { items: Vec::new(), next: None, looked_to: None }
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let here = |before: &str| {
        let others = form.others(&["before"]);
        address(LIST, others.chain([("before", before)]))
    };
    let first = form.filled("before").map(|_| here(""));
    let next = found.next.as_deref().map(here);
    let pipeline = web.service.pipeline(&caller).await?;
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let offers = if form.is_right() && shell.may_operate() { offers(&form) } else { Vec::new() };
    let is_filtered = form.others(&PAGING).next().is_some();
    let page = DeliveriesPage {
        is_filtered,
        is_deep: OTHERS.iter().any(|name| form.filled(name).is_some()),
        faults: form.other_faults(&[&FIRST[..], &OTHERS].concat()),
        rows: found.items.iter().map(|view| Row::of(view, &shell)).collect(),
        first,
        next,
        looked_to: found.looked_to.as_deref().and_then(|at| shell.told(at)),
        offers,
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
        form,
        shell,
    };
    page_with(status, &page)
}

/// The jobs that can be asked for over what the form's filters select.
fn offers(form: &Form) -> Vec<Offer> {
    let state = DeliveryState::parse(form.text("state"));
    let takes = |action: JobAction| state.is_none_or(|state| action.takes(state));
    let to = |action: JobAction| {
        let action = [("action", action.as_str())];
        address("/jobs/new", action.into_iter().chain(form.others(&PAGING)))
    };
    if form.others(&PAGING).next().is_none() {
        return Vec::new();
    }
    let all = [
        (JobAction::Redrive, if state.is_some() { "Redrive these…" } else { "Redrive the dead…" }),
        (
            JobAction::Discard,
            if state.is_some() { "Discard these…" } else { "Discard what waits or is dead…" },
        ),
    ];
    let offered = all.into_iter().filter(|(action, _)| takes(*action));
    offered
        .map(|(action, words)| Offer {
            words,
            tone: if action == JobAction::Discard { "danger" } else { "" },
            to: to(action),
        })
        .collect()
}
