//! The revisions of a mapping: who saved what and when, what differs between two, and going back to
//! one, which makes a new one that says the same.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::Web;
use super::diff::{Line, lines};
use super::failure::Failure;
use super::form::{Asked, Form, address};
use super::mapping;
use super::moment::Moment;
use super::setup::{self, Crumb, TAG};
use super::shell::{As, Flash, Moved, Shell, page};
use super::text::Outside;
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Guard, Target};
use crate::service::revisions::{Difference, RevisionView};
use crate::service::test_sends::Names;

struct Row {
    number: u32,
    saved: Option<Moment>,
    by: Outside,
    current: bool,
    is_from: bool,
    is_to: bool,
}

/// A place where two revisions differ, a line each of what went, stayed and came.
struct Changed {
    path: Outside,
    lines: Vec<Line>,
}

impl Changed {
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

struct Compared {
    from: u32,
    to: u32,
    changes: Vec<Changed>,
}

#[derive(Template)]
#[template(path = "revisions.html")]
struct RevisionsPage {
    name: Outside,
    path: String,
    crumbs: Vec<Crumb>,
    tag: String,
    rows: Vec<Row>,
    compared: Option<Compared>,
    first: Option<String>,
    next: Option<String>,
    shell: Shell,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(names): Path<Names>,
    Asked(asked): Asked,
) -> Result<Response, Failure> {
    let (detail, tag) = mapping::detail(&web, &caller, &names).await?;
    let found = web.service.revisions(&caller, &names, &asked.conditions(&["from", "to"])).await?;
    let (from, to) = (number(&asked, "from")?, number(&asked, "to")?);
    let compared = match (from, to) {
        (Some(from), Some(to)) => {
            let difference = web.service.compare_revisions(&caller, &names, from, to).await?;
            let changes = difference.changes.iter().map(Changed::of).collect();
            Some(Compared { from, to, changes })
        }
        (_, _) => None,
    };
    // Until two are chosen: what the one in force changed.
    let to = to.unwrap_or(detail.revision);
    let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
    let row = |it: &RevisionView| Row {
        number: it.number,
        saved: shell.told(&it.created_at),
        by: it.created_by.clone().into(),
        current: it.current,
        is_from: it.number == from,
        is_to: it.number == to,
    };
    let target = target(&names);
    let path = setup::path(&target);
    let here = format!("{path}/revisions");
    let next = found.next.as_deref().map(|before| address(&here, [("before", before)]));
    page(&RevisionsPage {
        name: names.2.as_str().into(),
        crumbs: setup::crumbs(&target),
        tag,
        rows: found.items.iter().map(row).collect(),
        compared,
        first: asked.filled("before").map(|_| here),
        next,
        path,
        shell,
    })
}

fn target((source, destination, mapping): &Names) -> Target {
    Target::Mapping(source.clone(), destination.clone(), mapping.clone())
}

/// A revision's number in a form; none where there is none.
fn number(form: &Form, name: &str) -> Result<Option<u32>, Failure> {
    let number = form.filled(name).map(str::parse::<u32>).transpose();
    number.map_err(|error| Failure::malformed(format!("{name}: {error}.")))
}

pub(super) async fn roll_back(
    State(web): State<Arc<Web>>,
    As(admin): As<Admin>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<Moved, Failure> {
    let number = number(&form, "revision")?;
    let number = number.ok_or_else(|| Failure::malformed("revision: say which."))?;
    let guard = Guard::Tagged(vec![form.text(TAG).to_owned()]);
    web.service.roll_back(&admin, &names, &guard, number).await?;
    let (now, _) = mapping::detail(&web, &admin, &names).await?;
    let told =
        format!("Revision {} is in force, and says what revision {number} said.", now.revision);
    Ok(Moved::to(setup::path(&target(&names))).telling(Flash::good(told)))
}
