//! Jobs: redrives and discards of many deliveries. What one would do is shown before it is made; its
//! progress is seen live, and it can be stopped.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::badge::Badge;
use super::deliveries::Row;
use super::failure::Failure;
use super::form::{Asked as Query, Field, Form, address};
use super::moment::Moment;
use super::shell::{As, Flash, Moved, Shell, page, page_with};
use super::text::{Outside, count, counted};
use crate::domain::auth::{Caller, Operator};
use crate::domain::job::JobAction;
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::service::jobs::{Asked, JobRequest, JobView, PreviewView};

/// Names of the form that are no conditions.
const OWN: [&str; 4] = ["action", "rate_per_second", "note", "id"];

struct Line {
    id: String,
    action: String,
    state: Badge,
    done: String,
    matched: String,
    /// What it selects by, or how many deliveries it names.
    selects: Vec<(String, Outside)>,
    actor: Outside,
    note: Option<Outside>,
    made: Option<Moment>,
}

impl Line {
    fn of(view: &JobView, shell: &Shell) -> Self {
        Self {
            id: view.id.clone(),
            action: view.action.clone(),
            state: Badge::of_state(&view.state),
            done: count(view.done),
            matched: at_least(view.matched.max(view.done), view.more && view.matched > view.done),
            selects: selects(view),
            actor: view.actor.clone().into(),
            note: view.note.clone().map(Outside::from),
            made: shell.told(&view.created_at),
        }
    }
}

/// How many; counting ends somewhere.
fn at_least(number: u64, more: bool) -> String {
    format!("{}{}", count(number), if more { "+" } else { "" })
}

fn selects(view: &JobView) -> Vec<(String, Outside)> {
    let named =
        (view.named > 0).then(|| ("chosen one by one".to_owned(), count(view.named as u64).into()));
    let filter = view.filter.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    named.into_iter().chain(filter).collect()
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    shell: Shell,
    lines: Vec<Line>,
    first: Option<String>,
    next: Option<String>,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Query(form): Query,
) -> Result<Response, Failure> {
    let found = web.service.jobs(&caller, None, &form.conditions(&[])).await?;
    let lines = found.items.iter().map(|view| Line::of(view, &shell)).collect();
    let first = form.filled("before").map(|_| "/jobs".to_owned());
    let next = found.next.map(|next| address("/jobs", [("before", next.as_str())]));
    page(&JobsPage { lines, first, next, shell })
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    line: Line,
    total: u64,
    done: u64,
    rate: Option<String>,
    finished: Option<Moment>,
    is_running: bool,
    can_cancel: bool,
    shell: Shell,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let view = web.service.job(&caller, &id).await?;
    let is_running = view.is_running();
    page(&JobPage {
        line: Line::of(&view, &shell),
        total: view.matched.max(view.done),
        done: view.done,
        rate: view.rate_per_second.map(|rate| format!("at most {} a second", count(rate.into()))),
        finished: view.finished_at.as_deref().and_then(|at| shell.told(at)),
        is_running,
        can_cancel: is_running && shell.may_operate(),
        shell,
    })
}

pub(super) async fn cancel(
    State(web): State<Arc<Web>>,
    As(operator): As<Operator>,
    Path(id): Path<String>,
) -> Result<Moved, Failure> {
    let view = web.service.cancel_job(&operator, &id).await?;
    let told = if view.state == "cancelled" {
        Flash::good("It is stopped. What it had done stays done.")
    } else {
        Flash::warn("It had gone through all of it already.")
    };
    Ok(Moved::to(format!("/jobs/{id}")).telling(told))
}

/// What a job selects, as the page that asks for it shows it.
struct Selected {
    name: String,
    value: Outside,
    hidden: String,
}

#[derive(Template)]
#[template(path = "job_new.html")]
struct NewJobPage {
    shell: Shell,
    action: JobAction,
    form: Form,
    selected: Vec<Selected>,
    ids: Vec<String>,
    faults: Vec<Fault>,
    matched: u64,
    words: String,
    rows: Vec<Row>,
    /// Where what is selected is listed.
    back: String,
}

impl NewJobPage {
    fn verb(&self) -> &'static str {
        match self.action {
            JobAction::Redrive => "Redrive",
            JobAction::Discard => "Discard",
        }
    }

    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }
}

/// Asks what to do with what was selected: how many there are, the first of them, how fast, and why.
pub(super) async fn ask(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    Query(form): Query,
) -> Result<Response, Failure> {
    preview(&web, shell, &operator, form).await
}

async fn preview(
    web: &Web,
    shell: Shell,
    operator: &Operator,
    mut form: Form,
) -> Result<Response, Failure> {
    let action = action(&form)?;
    let request = JobRequest { dry_run: true, ..selection(&form) };
    let asked = web.service.ask_job(action, operator, request).await;
    let found = match asked {
        Ok(Asked::Preview(preview)) => preview,
        Ok(Asked::Made(_)) => return Err(Failure::conflict("The job was made already.")),
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            PreviewView { matched: 0, more: false, sample: Vec::new() }
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let selected = form.others(&OWN).map(|(name, value)| Selected {
        name: name.to_owned(),
        value: value.into(),
        hidden: value.to_owned(),
    });
    let page = NewJobPage {
        action,
        selected: selected.collect(),
        ids: form.all("id").map(ToOwned::to_owned).collect(),
        faults: form.other_faults(&["rate_per_second", "note"]),
        matched: found.matched,
        words: words(found.matched, found.more),
        back: address("/deliveries", form.others(&OWN)),
        rows: found.sample.iter().map(|view| Row::of(view, &shell)).collect(),
        form,
        shell,
    };
    page_with(status, &page)
}

/// `1 delivery`, `500,000+ deliveries`.
fn words(matched: u64, more: bool) -> String {
    if more {
        format!("{} deliveries", at_least(matched, more))
    } else {
        counted(matched, "delivery", "deliveries")
    }
}

/// Makes the job.
pub(super) async fn make(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    mut form: Form,
) -> Result<Response, Failure> {
    let action = action(&form)?;
    let rate = match form.filled("rate_per_second").map(str::parse) {
        None => None,
        Some(Ok(rate)) => Some(rate),
        Some(Err(_)) => {
            form.fault("rate_per_second", "should be a whole number, or empty for no limit");
            None
        }
    };
    if !form.is_right() {
        return preview(&web, shell, &operator, form).await;
    }
    let note = form.filled("note").map(ToOwned::to_owned);
    let request = JobRequest { rate_per_second: rate, note, ..selection(&form) };
    match web.service.ask_job(action, &operator, request).await {
        Ok(Asked::Made(job)) => Ok(Moved::to(format!("/jobs/{}", job.id)).into_response()),
        Ok(Asked::Preview(_)) => Err(Failure::conflict("The job was not made.")),
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            preview(&web, shell, &operator, form).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn action(form: &Form) -> Result<JobAction, Failure> {
    let actions = [JobAction::Redrive, JobAction::Discard];
    let wanted = form.text("action");
    let found = actions.into_iter().find(|action| action.as_str() == wanted);
    found.ok_or_else(|| Failure::malformed("A job is a redrive or a discard: action says which."))
}

fn selection(form: &Form) -> JobRequest {
    JobRequest {
        ids: form.all("id").map(ToOwned::to_owned).collect(),
        filter: form.conditions(&OWN).into_iter().collect(),
        ..JobRequest::default()
    }
}
