//! The audit log: who did what, when and from where, what that changed, and whether every entry is as it
//! was written.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Web;
use super::difference::{Change, changes};
use super::failure::Failure;
use super::form::{Asked, Field, Form, address};
use super::moment::{Exact, Moment};
use super::shell::{As, Shell, page_with};
use super::text::{Outside, count};
use crate::domain::audit::Action;
use crate::domain::auth::Caller;
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::service::audit::{EntryView, VerdictView};
use crate::service::deliveries::Page;

/// Where it is.
const HERE: &str = "/audit";
/// The filters of the form.
const FILTERS: [&str; 5] = ["actor", "action", "subject", "since", "until"];
/// What says which page it is, and what is held against the log; neither narrows it.
const OWN: [&str; 4] = ["before", "limit", "verify", "kept"];
/// A log of so many entries is verified whenever it is looked at; a longer one when that is asked for.
const SHORT: i64 = 2_000;

struct Line {
    number: i64,
    at: Option<Moment>,
    exact: Option<Exact>,
    actor: Outside,
    role: Option<String>,
    from: Outside,
    request_id: Option<Outside>,
    note: Option<Outside>,
    action: String,
    subject: Outside,
    changes: Vec<Change>,
    hash: String,
}

impl Line {
    fn of(view: EntryView, shell: &Shell) -> Self {
        let at = shell.told(&view.at);
        Self {
            number: view.number,
            at,
            exact: at.map(|moment| Exact(moment.at)),
            actor: view.actor.into(),
            role: view.role,
            from: view.from.into(),
            request_id: view.request_id.map(Outside::from),
            note: view.note.map(Outside::from),
            action: view.action.replace('_', " "),
            subject: view.subject.into(),
            changes: changes(view.before.as_ref(), view.after.as_ref()),
            hash: view.hash,
        }
    }
}

/// Whether the chain holds.
struct Verdict {
    ok: bool,
    count: String,
    head: String,
    broken: Option<i64>,
    kept: Option<bool>,
}

impl From<VerdictView> for Verdict {
    fn from(view: VerdictView) -> Self {
        Self {
            ok: view.ok,
            head: format!("{}:{}", view.count, view.head),
            count: count(u64::try_from(view.count).unwrap_or(0)),
            broken: view.broken,
            kept: view.kept,
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    form: Form,
    faults: Vec<Fault>,
    is_filtered: bool,
    lines: Vec<Line>,
    verdict: Option<Verdict>,
    /// Whether whoever looks sees the whole log: only that can be verified.
    may_verify: bool,
    first: Option<String>,
    next: Option<String>,
    shell: Shell,
}

impl AuditPage {
    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    fn actions(&self) -> [&'static str; Action::ALL.len()] {
        Action::ALL.map(Action::as_str)
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(mut form): Asked,
) -> Result<Response, Failure> {
    let found = match web.service.audit(&caller, &form.conditions(&["verify", "kept"])).await {
        Ok(found) => found,
        Err(Refusal::Invalid(faults)) => {
            form.take_faults(faults);
            Page { items: Vec::new(), next: None, looked_to: None }
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let is_filtered = form.others(&OWN).next().is_some();
    let may_verify = caller.scope.limits().is_none();
    let newest = found.items.first().map_or(0, |entry| entry.number);
    let is_wanted = form.filled("verify").is_some() || form.filled("kept").is_some();
    let is_short = !is_filtered && form.filled("before").is_none() && newest <= SHORT;
    let verdict = if may_verify && (is_wanted || is_short) {
        web.verdict(&caller, &mut form).await?
    } else {
        None
    };
    let here = |before: &str| address(HERE, form.others(&OWN).chain([("before", before)]));
    let (first, next) = (form.filled("before").map(|_| here("")), found.next.as_deref().map(here));
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = AuditPage {
        faults: form.other_faults(&[&FILTERS[..], &["kept"]].concat()),
        is_filtered,
        lines: found.items.into_iter().map(|view| Line::of(view, &shell)).collect(),
        verdict,
        may_verify,
        first,
        next,
        form,
        shell,
    };
    page_with(status, &page)
}

impl Web {
    /// Whether every entry is as it was written, and the one that was kept, if one is held against it.
    async fn verdict(&self, caller: &Caller, form: &mut Form) -> Result<Option<Verdict>, Failure> {
        match self.service.verify_audit(caller, form.filled("kept")).await {
            Ok(verdict) => Ok(Some(verdict.into())),
            Err(Refusal::Invalid(faults)) => {
                form.take_faults(faults);
                Ok(None)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }
}
