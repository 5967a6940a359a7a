//! The overview: problems first, then key figures, the health of each destination, and time series.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::attention::{AttentionItem, dead_letter_count, items};
use super::badge::Badge;
use super::chart::Chart;
use super::error::PageError;
use super::form::{Query, with_query};
use super::format::{count, counted, latency, percent};
use super::layout::{Layout, page};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::time_series::charts;
use super::untrusted::Untrusted;
use crate::domain::auth::Caller;
use crate::service::ServiceError;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::statistics::{CountsView, HealthView, StatisticsView};
use crate::service::status::{CircuitView, StatusView};

/// The time ranges: query value, label, seconds.
const RANGES: [(&str, &str, u64); 4] = [
    ("1h", "1 hour", 3_600),
    ("24h", "24 hours", 86_400),
    ("7d", "7 days", 7 * 86_400),
    ("30d", "30 days", 30 * 86_400),
];
/// The default range.
const DEFAULT_RANGE: usize = 1;

/// A link to a time range.
struct Range {
    path: String,
    name: &'static str,
    is_selected: bool,
}

/// An open circuit.
struct Circuit {
    mapping: Untrusted,
    since: Option<RelativeTime>,
}

/// The health of a destination in the last hour.
struct Destination {
    path: String,
    name: Untrusted,
    state: Badge,
    held: Option<Untrusted>,
    circuits: Vec<Circuit>,
    delivered: String,
    dead_letters: u64,
    dead_letters_path: String,
    success_rate: String,
    p50: String,
    p99: String,
    oldest_due: Option<RelativeTime>,
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
    destinations: Vec<Destination>,
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
        destinations: health
            .into_iter()
            .map(|it| destination(&layout, it, &status.open_circuits))
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

fn destination(layout: &Layout, it: HealthView, open: &[CircuitView]) -> Destination {
    let CountsView { delivered, dead, success_permille, p50_us, p99_us, .. } = it.last_hour;
    let circuits = open.iter().filter(|circuit| it.open_circuits.contains(&circuit.mapping));
    let (state, held) = if !it.enabled {
        (Badge::new("disabled", "idle"), None)
    } else if let Some(held) = it.held {
        (Badge::new("held", "bad"), Some(held.into()))
    } else if !it.open_circuits.is_empty() {
        (Badge::new("circuit open", "bad"), None)
    } else {
        match success_permille {
            None => (Badge::new("idle", "idle"), None),
            Some(900..) => (Badge::new("healthy", "good"), None),
            Some(_) => (Badge::new("failing", "warn"), None),
        }
    };
    Destination {
        name: it.destination.clone().into(),
        path: with_query("/deliveries", [("destination", it.destination.as_str())]),
        dead_letters_path: with_query("/dead-letters", [("destination", it.destination.as_str())]),
        state,
        held,
        circuits: circuits
            .map(|circuit| Circuit {
                mapping: circuit.mapping.rsplit('/').next().unwrap_or_default().into(),
                since: layout.time(&circuit.opened_at),
            })
            .collect(),
        delivered: count(delivered),
        dead_letters: dead,
        success_rate: percent(success_permille),
        p50: latency(p50_us),
        p99: latency(p99_us),
        oldest_due: it.oldest_due_at.as_deref().and_then(|at| layout.time(at)),
    }
}
