//! Dead letters: grouped by destination and reason, and as a list, to redrive or discard.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::badge::Badge;
use super::deliveries::{PAGING, Row};
use super::error::PageError;
use super::form::{Query, with_query};
use super::format::at_least;
use super::layout::{Layout, page_with};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::auth::Caller;
use crate::domain::job::JobAction;
use crate::pipeline::FieldError;
use crate::service::Condition;
use crate::service::dead_letters::DeadLetterGroupView;

/// The path of the page.
const PATH: &str = "/dead-letters";
/// Groups that show an example: each costs a query.
const MAX_EXAMPLES: usize = 20;

/// Links to list, redrive and discard the dead letters that match some conditions.
struct Links {
    list: String,
    redrive: String,
    discard: String,
}

impl Links {
    fn of(conditions: &[(&str, &str)]) -> Self {
        let job = |action: JobAction| {
            let parameters = [("action", action.as_str()), ("state", "dead")];
            with_query("/jobs/new", parameters.into_iter().chain(conditions.iter().copied()))
        };
        Self {
            list: with_query(PATH, conditions.iter().copied()),
            redrive: job(JobAction::Redrive),
            discard: job(JobAction::Discard),
        }
    }
}

/// The dead letters of one destination with one reason.
struct Group {
    destination: Option<Untrusted>,
    reason: Badge,
    count: String,
    oldest: Option<RelativeTime>,
    newest: Option<RelativeTime>,
    example: Option<Row>,
    /// None when the destination was deleted.
    links: Option<Links>,
    is_selected: bool,
}

impl Group {
    fn of(view: &DeadLetterGroupView, layout: &Layout, example: Option<Row>) -> Self {
        let destination = view.destination.as_deref();
        let links = destination
            .map(|path| Links::of(&[("destination", path), ("reason", view.reason.as_str())]));
        Self {
            destination: destination.map(Untrusted::from),
            reason: Badge::new(view.reason.clone(), "bad"),
            count: at_least(view.count, view.more),
            oldest: layout.time(&view.oldest_at),
            newest: layout.time(&view.newest_at),
            example,
            links,
            is_selected: false,
        }
    }
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct DeadLettersPage {
    groups: Vec<Group>,
    /// The conditions of the list.
    filters: Vec<(String, Untrusted)>,
    /// The links for all dead letters that match the filters.
    links: Option<Links>,
    faults: Vec<FieldError>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    searched_back_to: Option<RelativeTime>,
    layout: Layout,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(mut form): Query,
) -> Result<Response, PageError> {
    let groups = web.dead_letter_groups(&caller, &layout).await?;
    let found = web.service.dead_letters(&caller, &form.conditions(&[])).await;
    let found = form.page_or_faults(found)?;
    let faults = form.other_faults(&[]);
    let at = |before: &str| with_query(PATH, form.except(&["before"]).chain([("before", before)]));
    let status = if faults.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let filters: Vec<_> = form.except(&PAGING).collect();
    let list = with_query(PATH, filters.iter().copied());
    let is_selected = |group: &Group| group.links.as_ref().is_some_and(|links| links.list == list);
    let page = DeadLettersPage {
        groups: groups
            .into_iter()
            .map(|group| Group { is_selected: is_selected(&group), ..group })
            .collect(),
        links: (!filters.is_empty() && faults.is_empty()).then(|| Links::of(&filters)),
        filters: filters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect(),
        faults,
        rows: found.items.iter().map(|view| Row::of(view, &layout)).collect(),
        first: form.non_empty("before").map(|_| at("")),
        next: found.next.as_deref().map(at),
        searched_back_to: found.looked_to.as_deref().and_then(|at| layout.time(at)),
        layout,
    };
    page_with(status, &page)
}

impl Web {
    /// All groups, the first ones with their newest dead letter as an example.
    async fn dead_letter_groups(
        &self,
        caller: &Caller,
        layout: &Layout,
    ) -> Result<Vec<Group>, PageError> {
        let views = self.service.dead_letter_groups(caller).await?.items;
        let mut groups = Vec::with_capacity(views.len());
        for (at, view) in views.iter().enumerate() {
            let example = match &view.destination {
                Some(path) if at < MAX_EXAMPLES => {
                    let conditions =
                        [("destination", path.as_str()), ("reason", &view.reason), ("limit", "1")];
                    let conditions: Vec<Condition> =
                        conditions.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
                    let found = self.service.dead_letters(caller, &conditions).await?;
                    found.items.first().map(|view| Row::of(view, layout))
                }
                Some(_) | None => None,
            };
            groups.push(Group::of(view, layout, example));
        }
        Ok(groups)
    }
}
