//! Dead letters: in groups by destination and reason, and one by one, to be chosen and redriven or
//! discarded.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::deliveries::{PAGING, Row};
use super::failure::Failure;
use super::form::{Asked, address};
use super::moment::Moment;
use super::shell::{As, Shell, page_with};
use super::text::{Outside, count};
use crate::domain::auth::Caller;
use crate::domain::job::JobAction;
use crate::pipeline::Fault;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::deliveries::Page;
use crate::service::{Condition, Refusal};

/// Where they are.
const HERE: &str = "/dead-letters";
/// Groups that are shown with an example: each costs a look.
const EXAMPLES: usize = 20;

/// Where what has this in common is listed, redriven and discarded.
struct Ways {
    list: String,
    redrive: String,
    discard: String,
}

impl Ways {
    fn of(conditions: &[(&str, &str)]) -> Self {
        let to = |action: JobAction| {
            let job = [("action", action.as_str()), ("state", "dead")];
            address("/jobs/new", job.into_iter().chain(conditions.iter().copied()))
        };
        Self {
            list: address(HERE, conditions.iter().copied()),
            redrive: to(JobAction::Redrive),
            discard: to(JobAction::Discard),
        }
    }
}

struct Group {
    destination: Option<Outside>,
    reason: Badge,
    count: String,
    oldest: Option<Moment>,
    newest: Option<Moment>,
    example: Option<Row>,
    /// None for a destination that was removed: it cannot be named.
    ways: Option<Ways>,
    is_chosen: bool,
}

impl Group {
    fn of(view: &DeadLetterGroupView, shell: &Shell, example: Option<Row>) -> Self {
        let destination = view.destination.as_deref();
        let ways = destination
            .map(|path| Ways::of(&[("destination", path), ("reason", view.reason.as_str())]));
        Self {
            destination: destination.map(Outside::from),
            reason: Badge::new(view.reason.clone(), "bad"),
            count: format!("{}{}", count(view.count), if view.more { "+" } else { "" }),
            oldest: shell.told(&view.oldest_at),
            newest: shell.told(&view.newest_at),
            example,
            ways,
            is_chosen: false,
        }
    }
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersPage {
    groups: Vec<Group>,
    /// What the list is narrowed by.
    chosen: Vec<(String, Outside)>,
    /// What can be done with all of what it is narrowed to.
    ways: Option<Ways>,
    faults: Vec<Fault>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    looked_to: Option<Moment>,
    shell: Shell,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(form): Asked,
) -> Result<Response, Failure> {
    let groups = web.groups(&caller, &shell).await?;
    let (found, faults) = match web.service.dead_letters(&caller, &form.conditions(&[])).await {
        Ok(found) => (found, Vec::new()),
        Err(Refusal::Invalid(faults)) => {
            (Page { items: Vec::new(), next: None, looked_to: None }, faults)
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let here = |before: &str| address(HERE, form.others(&["before"]).chain([("before", before)]));
    let status = if faults.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let chosen: Vec<_> = form.others(&PAGING).collect();
    let list = address(HERE, chosen.iter().copied());
    let is_chosen = |group: &Group| group.ways.as_ref().is_some_and(|ways| ways.list == list);
    let page = DeadLettersPage {
        groups: groups
            .into_iter()
            .map(|group| Group { is_chosen: is_chosen(&group), ..group })
            .collect(),
        ways: (!chosen.is_empty() && faults.is_empty()).then(|| Ways::of(&chosen)),
        chosen: chosen.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        faults,
        rows: found.items.iter().map(|view| Row::of(view, &shell)).collect(),
        first: form.filled("before").map(|_| here("")),
        next: found.next.as_deref().map(here),
        looked_to: found.looked_to.as_deref().and_then(|at| shell.told(at)),
        shell,
    };
    page_with(status, &page)
}

impl Web {
    /// Every group, the largest of them with the newest of its dead letters.
    async fn groups(&self, caller: &Caller, shell: &Shell) -> Result<Vec<Group>, Failure> {
        let views = self.service.dead_letter_groups(caller).await?.items;
        let mut groups = Vec::with_capacity(views.len());
        for (at, view) in views.iter().enumerate() {
            let example = match &view.destination {
                Some(path) if at < EXAMPLES => {
                    let given =
                        [("destination", path.as_str()), ("reason", &view.reason), ("limit", "1")];
                    let conditions: Vec<Condition> =
                        given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
                    let found = self.service.dead_letters(caller, &conditions).await?;
                    found.items.first().map(|view| Row::of(view, shell))
                }
                Some(_) | None => None,
            };
            groups.push(Group::of(view, shell, example));
        }
        Ok(groups)
    }
}
