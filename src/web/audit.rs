//! The audit log: search, the changed values of each entry, and verification of the hash chain.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::error::PageError;
use super::form::{Form, Query, with_query};
use super::format::count;
use super::json_diff::{Change, changes};
use super::layout::{Layout, page_with};
use super::role::Require;
use super::state::Web;
use super::time::{ExactTime, RelativeTime};
use super::untrusted::Untrusted;
use crate::domain::audit::Action;
use crate::domain::auth::Caller;
use crate::pipeline::FieldError;
use crate::service::audit::{EntryView, VerdictView};

/// The path of the page.
const PATH: &str = "/audit";
/// The fields of the search form.
const FILTERS: [&str; 5] = ["actor", "action", "subject", "since", "until"];
/// Parameters that do not filter: paging and verification.
const NOT_FILTERS: [&str; 4] = ["before", "limit", "verify", "kept"];
/// A log of at most this many entries is verified on every view, a longer one on request.
const AUTO_VERIFY_LIMIT: i64 = 2_000;

/// An entry.
struct Entry {
    number: i64,
    at: Option<RelativeTime>,
    exact: Option<ExactTime>,
    actor: Untrusted,
    role: Option<String>,
    origin: Untrusted,
    request_id: Option<Untrusted>,
    note: Option<Untrusted>,
    action: String,
    subject: Untrusted,
    changes: Vec<Change>,
    hash: String,
}

impl Entry {
    fn of(view: EntryView, layout: &Layout) -> Self {
        let at = layout.time(&view.at);
        Self {
            number: view.number,
            at,
            exact: at.map(|moment| ExactTime(moment.at)),
            actor: view.actor.into(),
            role: view.role,
            origin: view.from.into(),
            request_id: view.request_id.map(Untrusted::from),
            note: view.note.map(Untrusted::from),
            action: view.action.replace('_', " "),
            subject: view.subject.into(),
            changes: changes(view.before.as_ref(), view.after.as_ref()),
            hash: view.hash,
        }
    }
}

/// The result of verifying the hash chain.
struct Verification {
    ok: bool,
    count: String,
    head: String,
    /// The first entry that does not verify.
    broken_at: Option<i64>,
    /// Whether the entry with the given head hash is unchanged.
    known_head_matches: Option<bool>,
}

impl From<VerdictView> for Verification {
    fn from(view: VerdictView) -> Self {
        Self {
            ok: view.ok,
            head: format!("{}:{}", view.count, view.head),
            count: count(u64::try_from(view.count).unwrap_or(0)),
            broken_at: view.broken,
            known_head_matches: view.kept,
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    form: Form,
    faults: Vec<FieldError>,
    is_filtered: bool,
    entries: Vec<Entry>,
    verification: Option<Verification>,
    /// Whether the caller can read the whole log; a part cannot be verified.
    may_verify: bool,
    first: Option<String>,
    next: Option<String>,
    layout: Layout,
}

impl AuditPage {
    fn actions(&self) -> [&'static str; Action::ALL.len()] {
        Action::ALL.map(Action::as_str)
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(mut form): Query,
) -> Result<Response, PageError> {
    let found = web.service.audit(&caller, &form.conditions(&["verify", "kept"])).await;
    let found = form.page_or_faults(found)?;
    let is_filtered = form.except(&NOT_FILTERS).next().is_some();
    let may_verify = caller.scope.limits().is_none();
    let newest = found.items.first().map_or(0, |entry| entry.number);
    let is_requested = form.non_empty("verify").is_some() || form.non_empty("kept").is_some();
    let is_short =
        !is_filtered && form.non_empty("before").is_none() && newest <= AUTO_VERIFY_LIMIT;
    let verification = if may_verify && (is_requested || is_short) {
        web.verify_audit(&caller, &mut form).await?
    } else {
        None
    };
    let at = |before: &str| with_query(PATH, form.except(&NOT_FILTERS).chain([("before", before)]));
    let (first, next) = (form.non_empty("before").map(|_| at("")), found.next.as_deref().map(at));
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = AuditPage {
        faults: form.other_faults(&[&FILTERS[..], &["kept"]].concat()),
        is_filtered,
        entries: found.items.into_iter().map(|view| Entry::of(view, &layout)).collect(),
        verification,
        may_verify,
        first,
        next,
        form,
        layout,
    };
    page_with(status, &page)
}

impl Web {
    /// Verifies the hash chain, and that the given head hash is part of it.
    async fn verify_audit(
        &self,
        caller: &Caller,
        form: &mut Form,
    ) -> Result<Option<Verification>, PageError> {
        let verified = self.service.verify_audit(caller, form.non_empty("kept")).await;
        Ok(form.or_faults(verified)?.map(Verification::from))
    }
}
