//! The list of all destinations with their health: filtered by name, sorted by a column, in pages.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::destination_health::{DestinationHealth, Order};
use super::error::PageError;
use super::form::{Form, Query, with_query};
use super::format::count;
use super::layout::{Layout, page};
use super::role::Require;
use super::state::Web;
use crate::domain::auth::Caller;

/// The path of the page.
pub(super) const PATH: &str = "/destinations";

/// Destinations in a page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "destinations.html")]
struct DestinationsPage {
    layout: Layout,
    form: Form,
    destinations: Vec<DestinationHealth>,
    order: Order,
    /// `51–100 of 1,000`.
    range: String,
    is_filtered: bool,
    previous: Option<String>,
    next: Option<String>,
}

impl DestinationsPage {
    /// The page in another order.
    fn by(&self, order: &str) -> String {
        let filters = self.form.except(&["sort", "page"]);
        with_query(PATH, filters.chain([("sort", order)]))
    }

    /// The state of a column's header.
    fn is_by(&self, order: &str) -> bool {
        self.order.as_str() == order
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(form): Query,
) -> Result<Response, PageError> {
    let mut health = web.service.health(&caller).await?;
    let status = web.service.status(&caller).await?;
    let wanted = form.text("name").trim().to_lowercase();
    health.retain(|it| it.destination.to_lowercase().contains(&wanted));
    let asked = form.text("sort");
    let order = Order::ALL.into_iter().find(|it| it.as_str() == asked).unwrap_or(Order::Worst);
    order.sort(&mut health);
    let pages = health.len().div_ceil(ROWS).max(1);
    let number = form.text("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
    let first = (number - 1) * ROWS;
    let total = health.len();
    let shown: Vec<_> = health.into_iter().skip(first).take(ROWS).collect();
    let at = |number: usize| {
        let number = number.to_string();
        let filters = form.except(&["page"]);
        with_query(PATH, filters.chain([("page", number.as_str())]))
    };
    page(&DestinationsPage {
        range: range(first, shown.len(), total),
        previous: (number > 1).then(|| at(number - 1)),
        next: (number < pages).then(|| at(number + 1)),
        is_filtered: !wanted.is_empty(),
        destinations: shown
            .into_iter()
            .map(|it| DestinationHealth::of(&layout, it, &status.open_circuits))
            .collect(),
        order,
        form,
        layout,
    })
}

/// The rows of a page among all.
fn range(first: usize, shown: usize, total: usize) -> String {
    let number = |it: usize| count(u64::try_from(it).unwrap_or(u64::MAX));
    if shown == 0 {
        return "0".to_owned();
    }
    format!("{}–{} of {}", number(first + 1), number(first + shown), number(total))
}
