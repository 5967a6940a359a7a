//! The revisions of a mapping: list, diff of two, and rollback, which creates a new revision with the
//! content of an old one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::super::error::PageError;
use super::super::flash::{Flash, SeeOther};
use super::super::form::{Form, Query, with_query};
use super::super::layout::{Layout, page};
use super::super::line_diff::{Line, lines};
use super::super::role::Require;
use super::super::state::Web;
use super::super::time::RelativeTime;
use super::super::untrusted::Untrusted;
use super::editor::unchanged;
use super::mapping::mapping;
use super::target::{Breadcrumb, breadcrumbs_to, mapping as mapping_target, path};
use crate::domain::auth::{Admin, Caller};
use crate::service::revisions::{Difference, RevisionView};
use crate::service::test_sends::Names;

/// A revision in the list.
struct Row {
    number: u32,
    saved_at: Option<RelativeTime>,
    by: Untrusted,
    is_current: bool,
    is_from: bool,
    is_to: bool,
}

/// A differing value, as a line diff.
struct ChangedValue {
    path: Untrusted,
    lines: Vec<Line>,
}

impl ChangedValue {
    fn of(difference: &Difference) -> Self {
        let text = |value: &Option<Value>| match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        let lines = lines(&text(&difference.from), &text(&difference.to));
        Self { path: difference.path.trim_start_matches('/').into(), lines }
    }
}

struct Comparison {
    from: u32,
    to: u32,
    changes: Vec<ChangedValue>,
}

#[derive(Template)]
#[template(path = "revisions.html")]
struct RevisionsPage {
    name: Untrusted,
    path: String,
    breadcrumbs: Vec<Breadcrumb>,
    tag: String,
    rows: Vec<Row>,
    comparison: Option<Comparison>,
    first: Option<String>,
    next: Option<String>,
    layout: Layout,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Path(names): Path<Names>,
    Query(query): Query,
) -> Result<Response, PageError> {
    let target = mapping_target(&names);
    let version = web.service.detail(&caller, &target).await?;
    let detail = mapping(version.detail)?;
    let found = web.service.revisions(&caller, &names, &query.conditions(&["from", "to"])).await?;
    let (from, to) = (number(&query, "from")?, number(&query, "to")?);
    let comparison = match (from, to) {
        (Some(from), Some(to)) => {
            let difference = web.service.compare_revisions(&caller, &names, from, to).await?;
            let changes = difference.changes.iter().map(ChangedValue::of).collect();
            Some(Comparison { from, to, changes })
        }
        (_, _) => None,
    };
    // The default comparison: the current revision against the one before.
    let to = to.unwrap_or(detail.revision);
    let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
    let row = |it: &RevisionView| Row {
        number: it.number,
        saved_at: layout.time(&it.created_at),
        by: it.created_by.clone().into(),
        is_current: it.current,
        is_from: it.number == from,
        is_to: it.number == to,
    };
    let path = path(&target);
    let list = format!("{path}/revisions");
    let next = found.next.as_deref().map(|before| with_query(&list, [("before", before)]));
    page(&RevisionsPage {
        name: names.2.as_str().into(),
        breadcrumbs: breadcrumbs_to(&target),
        tag: version.tag,
        rows: found.items.iter().map(row).collect(),
        comparison,
        first: query.non_empty("before").map(|_| list),
        next,
        path,
        layout,
    })
}

/// A revision number in a form; none when the field is empty.
fn number(form: &Form, name: &str) -> Result<Option<u32>, PageError> {
    let number = form.non_empty(name).map(str::parse::<u32>).transpose();
    number.map_err(|error| PageError::malformed(format!("{name}: {error}.")))
}

/// Creates a revision with the content of an older one.
pub(super) async fn roll_back(
    State(web): State<Arc<Web>>,
    Require(admin): Require<Admin>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<SeeOther, PageError> {
    let number = number(&form, "revision")?;
    let number = number.ok_or_else(|| PageError::malformed("revision is required."))?;
    web.service.roll_back(&admin, &names, &unchanged(&form), number).await?;
    let target = mapping_target(&names);
    let current = mapping(web.service.detail(&admin, &target).await?.detail)?.revision;
    let message = format!("Rolled back: revision {current} has the content of revision {number}.");
    Ok(SeeOther::to(path(&target)).with_flash(Flash::good(message)))
}
