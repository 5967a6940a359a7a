//! The overview: problems first, then key figures, the health of each destination, and time series.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::attention::{AttentionItem, dead_letter_count, items};
use super::chart::Chart;
use super::destination_health::{DestinationHealth, Order};
use super::error::PageError;
use super::form::{Query, with_query};
use super::format::{count, counted, latency, percent};
use super::layout::{Layout, page};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::time_series::charts;
use crate::domain::auth::Caller;
use crate::service::ServiceError;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::statistics::{HealthView, StatisticsView};
use crate::service::status::StatusView;

/// The time ranges: query value, label, seconds.
const RANGES: [(&str, &str, u64); 4] = [
    ("1h", "1 hour", 3_600),
    ("24h", "24 hours", 86_400),
    ("7d", "7 days", 7 * 86_400),
    ("30d", "30 days", 30 * 86_400),
];
/// Destinations that the overview shows.
const SHOWN: usize = 10;
/// The default range.
const DEFAULT_RANGE: usize = 1;

/// A link to a time range.
struct Range {
    path: String,
    name: &'static str,
    is_selected: bool,
}

/// The key figures.
struct Figures {
    accepted: String,
    delivered: String,
    attempts: String,
    success_rate: String,
    p99: String,
    backlog: String,
    oldest_due: Option<RelativeTime>,
    dead_letters: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    path: String,
    ranges: Vec<Range>,
    range: &'static str,
    attention: Vec<AttentionItem>,
    /// There is no source.
    is_empty: bool,
    /// No event was received yet.
    has_no_events: bool,
    figures: Figures,
    charts: Vec<Chart>,
    /// The destinations that need attention most.
    destinations: Vec<DestinationHealth>,
    /// How many there are.
    all_destinations: usize,
    started_at: Option<RelativeTime>,
    version: String,
    layout: Layout,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Query(query): Query,
) -> Result<Response, PageError> {
    let selected = query.text("range");
    let at = RANGES.iter().position(|(value, _, _)| *value == selected).unwrap_or(DEFAULT_RANGE);
    let (value, range, seconds) = RANGES[at];
    let statistics =
        web.statistics_since(&caller, layout.now - Duration::from_secs(seconds)).await?;
    let health = web.service.health(&caller).await?;
    let status = web.service.status(&caller).await?;
    let groups = web.service.dead_letter_groups(&caller).await?.items;
    let pipeline = web.service.pipeline(&caller).await?;
    let path = |range: &str| with_query("/", [("range", range)]);
    page(&OverviewPage {
        path: path(value),
        ranges: RANGES
            .iter()
            .map(|(it, name, _)| Range { path: path(it), name, is_selected: *it == value })
            .collect(),
        range,
        attention: items(&layout, &status, &health, &groups),
        is_empty: pipeline.sources.is_empty(),
        has_no_events: status.ledger.events_accepted + status.ledger.events_rejected == 0,
        figures: figures(&layout, &statistics, &status, &health, &groups),
        charts: charts(&statistics),
        all_destinations: health.len(),
        destinations: worst(health)
            .into_iter()
            .map(|it| DestinationHealth::of(&layout, it, &status.open_circuits))
            .collect(),
        started_at: layout.time(&status.started_at),
        version: status.version,
        layout,
    })
}

impl Web {
    /// Statistics by the minute, or by the hour for a range with too many minutes.
    async fn statistics_since(
        &self,
        caller: &Caller,
        since: crate::domain::clock::Timestamp,
    ) -> Result<StatisticsView, PageError> {
        let since = ("since".to_owned(), since.to_iso());
        match self.service.statistics(caller, std::slice::from_ref(&since)).await {
            Err(ServiceError::Invalid(_)) => {
                let hourly = ("step_minutes".to_owned(), "60".to_owned());
                Ok(self.service.statistics(caller, &[since, hourly]).await?)
            }
            answer => Ok(answer?),
        }
    }
}

/// The destinations that need attention most.
fn worst(mut health: Vec<HealthView>) -> Vec<HealthView> {
    Order::Worst.sort(&mut health);
    health.truncate(SHOWN);
    health
}

fn figures(
    layout: &Layout,
    statistics: &StatisticsView,
    status: &StatusView,
    health: &[HealthView],
    groups: &[DeadLetterGroupView],
) -> Figures {
    let total = statistics.total;
    let oldest = health.iter().filter_map(|it| it.oldest_due_at.as_deref()).min();
    Figures {
        accepted: count(total.accepted),
        delivered: count(total.delivered),
        attempts: counted(total.attempts, "attempt", "attempts"),
        success_rate: percent(total.success_permille),
        p99: latency(total.p99_us),
        backlog: count(status.ledger.pending + status.ledger.leased),
        oldest_due: oldest.and_then(|at| layout.time(at)),
        dead_letters: dead_letter_count(groups),
    }
}
