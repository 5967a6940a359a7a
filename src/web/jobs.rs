//! Jobs, which redrive or discard many deliveries: list, preview before creation, live progress,
//! cancellation.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::badge::Badge;
use super::deliveries::Row;
use super::error::PageError;
use super::flash::{Flash, SeeOther};
use super::form::{Form, Query, with_query};
use super::format::{at_least, count, counted};
use super::layout::{Layout, page, page_with};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::auth::{Caller, Operator};
use crate::domain::job::JobAction;
use crate::pipeline::FieldError;
use crate::service::jobs::{Asked, JobRequest, JobView, PreviewView};
use crate::service::{ServiceError, absolute_time};

/// Fields of the form that are not filters.
const NOT_FILTERS: [&str; 4] = ["action", "rate_per_second", "note", "id"];

/// A job in the list.
struct JobRow {
    id: String,
    action: String,
    state: Badge,
    done: String,
    matched: String,
    /// Its filters, or the number of selected deliveries.
    selection: Vec<(String, Untrusted)>,
    actor: Untrusted,
    note: Option<Untrusted>,
    created_at: Option<RelativeTime>,
}

impl JobRow {
    fn of(view: &JobView, layout: &Layout) -> Self {
        Self {
            id: view.id.clone(),
            action: view.action.clone(),
            state: Badge::of_state(&view.state),
            done: count(view.done),
            matched: at_least(view.matched.max(view.done), view.more && view.matched > view.done),
            selection: selection_of(view),
            actor: view.actor.clone().into(),
            note: view.note.clone().map(Untrusted::from),
            created_at: layout.time(&view.created_at),
        }
    }
}

/// What the job selects by.
fn selection_of(view: &JobView) -> Vec<(String, Untrusted)> {
    let ids = (view.named > 0)
        .then(|| ("selected deliveries".to_owned(), count(view.named as u64).into()));
    let filter = view.filter.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    ids.into_iter().chain(filter).collect()
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    layout: Layout,
    rows: Vec<JobRow>,
    first: Option<String>,
    next: Option<String>,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(form): Query,
) -> Result<Response, PageError> {
    let found = web.service.jobs(&caller, None, &form.conditions(&[])).await?;
    let rows = found.items.iter().map(|view| JobRow::of(view, &layout)).collect();
    let first = form.non_empty("before").map(|_| "/jobs".to_owned());
    let next = found.next.map(|next| with_query("/jobs", [("before", next.as_str())]));
    page(&JobsPage { rows, first, next, layout })
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    job: JobRow,
    total: u64,
    done: u64,
    rate: Option<String>,
    finished_at: Option<RelativeTime>,
    is_running: bool,
    can_cancel: bool,
    layout: Layout,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let view = web.service.job(&caller, &id).await?;
    let is_running = view.is_running();
    page(&JobPage {
        job: JobRow::of(&view, &layout),
        total: view.matched.max(view.done),
        done: view.done,
        rate: view.rate_per_second.map(|rate| format!("at most {}/s", count(rate.into()))),
        finished_at: view.finished_at.as_deref().and_then(|at| layout.time(at)),
        is_running,
        can_cancel: is_running && layout.may_operate(),
        layout,
    })
}

pub(super) async fn cancel(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    Path(id): Path<String>,
) -> Result<SeeOther, PageError> {
    let view = web.service.cancel_job(&operator, &id).await?;
    let flash = if view.state == "cancelled" {
        Flash::good("Cancelled. Deliveries already processed stay as they are.")
    } else {
        Flash::warn("The job had already finished.")
    };
    Ok(SeeOther::to(format!("/jobs/{id}")).with_flash(flash))
}

/// A filter of a new job.
struct Filter {
    name: String,
    value: Untrusted,
    /// The value as text, for the hidden field.
    hidden: String,
}

#[derive(Template)]
#[template(path = "job_new.html")]
struct NewJobPage {
    layout: Layout,
    action: JobAction,
    form: Form,
    filters: Vec<Filter>,
    ids: Vec<String>,
    faults: Vec<FieldError>,
    matched: u64,
    /// Whether nothing matches; the count may have ended before the first match.
    is_empty: bool,
    /// `1 delivery`, `500,000+ deliveries`.
    matched_text: String,
    rows: Vec<Row>,
    /// The list of the selected deliveries.
    back: String,
}

impl NewJobPage {
    fn verb(&self) -> &'static str {
        match self.action {
            JobAction::Redrive => "Redrive",
            JobAction::Discard => "Discard",
            JobAction::Backfill => "Backfill",
        }
    }
}

/// The form of a new job, with a preview: the number of matching deliveries and a sample.
pub(super) async fn new_form(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    Query(form): Query,
) -> Result<Response, PageError> {
    preview(&web, layout, &operator, form).await
}

async fn preview(
    web: &Web,
    layout: Layout,
    operator: &Operator,
    mut form: Form,
) -> Result<Response, PageError> {
    let action = action(&form)?;
    // The job that the operator confirms selects what the preview counted.
    for name in ["since", "until"] {
        let given = form.text(name).to_owned();
        form.set(name, &absolute_time(&given, web.service.clock.now()));
    }
    let request = JobRequest { dry_run: true, ..selection(&form) };
    let previewed = web.service.ask_job(action, operator, request).await;
    let found = match previewed {
        Ok(Asked::Preview(preview)) => preview,
        Ok(Asked::Made(_)) => return Err(PageError::conflict("The job was created already.")),
        Err(ServiceError::Invalid(faults)) => {
            form.add_faults(faults);
            PreviewView { matched: 0, more: false, sample: Vec::new() }
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let filters = form.except(&NOT_FILTERS).map(|(name, value)| Filter {
        name: name.to_owned(),
        value: value.into(),
        hidden: value.to_owned(),
    });
    let page = NewJobPage {
        action,
        filters: filters.collect(),
        ids: form.all("id").map(ToOwned::to_owned).collect(),
        faults: form.other_faults(&["rate_per_second", "note"]),
        matched: found.matched,
        is_empty: found.matched == 0 && !found.more,
        matched_text: matched_text(found.matched, found.more),
        back: with_query("/deliveries", form.except(&NOT_FILTERS)),
        rows: found.sample.iter().map(|view| Row::of(view, &layout)).collect(),
        form,
        layout,
    };
    page_with(status, &page)
}

fn matched_text(matched: u64, more: bool) -> String {
    if more {
        format!("{} deliveries", at_least(matched, more))
    } else {
        counted(matched, "delivery", "deliveries")
    }
}

pub(super) async fn create(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    mut form: Form,
) -> Result<Response, PageError> {
    let action = action(&form)?;
    let rate = match form.non_empty("rate_per_second").map(str::parse) {
        None => None,
        Some(Ok(rate)) => Some(rate),
        Some(Err(_)) => {
            form.fault("rate_per_second", "should be a whole number, or empty for no limit");
            None
        }
    };
    if !form.is_valid() {
        return preview(&web, layout, &operator, form).await;
    }
    let note = form.non_empty("note").map(ToOwned::to_owned);
    let request = JobRequest { rate_per_second: rate, note, ..selection(&form) };
    match web.service.ask_job(action, &operator, request).await {
        Ok(Asked::Made(job)) => Ok(SeeOther::to(format!("/jobs/{}", job.id)).into_response()),
        Ok(Asked::Preview(_)) => Err(PageError::conflict("The job was not created.")),
        Err(ServiceError::Invalid(faults)) => {
            form.add_faults(faults);
            preview(&web, layout, &operator, form).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn action(form: &Form) -> Result<JobAction, PageError> {
    let actions = [JobAction::Redrive, JobAction::Discard];
    let name = form.text("action");
    let found = actions.into_iter().find(|action| action.as_str() == name);
    found.ok_or_else(|| PageError::malformed("action must be redrive or discard."))
}

fn selection(form: &Form) -> JobRequest {
    JobRequest {
        ids: form.all("id").map(ToOwned::to_owned).collect(),
        filter: form.conditions(&NOT_FILTERS).into_iter().collect(),
        ..JobRequest::default()
    }
}
