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
use crate::desk::Refusal;
use crate::desk::deliveries::{DeliveryView, Page};
use crate::domain::access::Caller;
use crate::domain::attempt::Outcome;
use crate::domain::delivery::{Reason, State as DeliveryState};
use crate::domain::event::EventType;
use crate::pipeline::Fault;

/// Where the list is.
pub(super) const LIST: &str = "/deliveries";

/// The filters of the form, as the list names them.
const FILTERS: [&str; 10] = [
    "state",
    "reason",
    "outcome",
    "status",
    "destination",
    "mapping",
    "type",
    "event",
    "since",
    "until",
];

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

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    shell: Shell,
    form: Form,
    is_filtered: bool,
    faults: Vec<Fault>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    /// What a job over the dead letters that match would be asked with.
    job_query: Option<String>,
    destinations: Vec<String>,
    mappings: Vec<String>,
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
    let found = match web.desk.deliveries(&caller, &conditions).await {
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
    let pipeline = web.desk.pipeline(&caller).await?;
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let is_filtered = form.others(&["before", "limit"]).next().is_some();
    let page = DeliveriesPage {
        is_filtered,
        faults: form.other_faults(&FILTERS),
        rows: found.items.iter().map(|view| Row::of(view, &shell)).collect(),
        first,
        next,
        job_query: (form.text("state") == "dead").then(|| {
            let query = address("", form.others(&["before", "limit", "event", "outcome"]));
            query.trim_start_matches('?').to_owned()
        }),
        destinations: pipeline
            .destinations
            .iter()
            .map(|it| crate::desk::destination_path(&pipeline, it.id).join("/"))
            .collect(),
        mappings: pipeline
            .mappings
            .iter()
            .map(|it| crate::desk::mapping_path(&pipeline, it.id).join("/"))
            .collect(),
        form,
        shell,
    };
    page_with(status, &page)
}
