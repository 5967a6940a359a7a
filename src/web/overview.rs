//! The overview: what needs attention first, how the service does over time, how each destination fares.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::chart::Chart;
use super::concern::{self, Concern};
use super::failure::Failure;
use super::flow::charts;
use super::form::{Asked, address};
use super::moment::{Moment, span};
use super::shell::{As, Shell, page};
use super::text::{Outside, count, counted};
use crate::domain::auth::Caller;
use crate::service::Refusal;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::statistics::{CountsView, HealthView, StatisticsView};
use crate::service::status::{CircuitView, StatusView};

/// What can be looked back on: its word, its name and its length in seconds.
const RANGES: [(&str, &str, u64); 4] = [
    ("1h", "1 hour", 3_600),
    ("24h", "24 hours", 86_400),
    ("7d", "7 days", 7 * 86_400),
    ("30d", "30 days", 30 * 86_400),
];
/// The one that is shown when none is chosen.
const USUAL: usize = 1;

/// A range that can be chosen.
struct Range {
    to: String,
    name: &'static str,
    is_chosen: bool,
}

/// A mapping whose circuit is open.
struct Circuit {
    mapping: Outside,
    since: Option<Moment>,
}

struct Destination {
    path: String,
    name: Outside,
    state: Badge,
    why: Option<Outside>,
    circuits: Vec<Circuit>,
    delivered: String,
    dead: u64,
    dead_list: String,
    success: String,
    p50: String,
    p99: String,
    due: Option<Moment>,
}

/// The tiles: one number each.
struct Numbers {
    accepted: String,
    delivered: String,
    attempts: String,
    success: String,
    p99: String,
    waiting: String,
    oldest: Option<Moment>,
    dead: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    here: String,
    ranges: Vec<Range>,
    range: &'static str,
    concerns: Vec<Concern>,
    /// Nothing is set up.
    is_empty: bool,
    /// No event has come in yet.
    is_fresh: bool,
    numbers: Numbers,
    charts: Vec<Chart>,
    destinations: Vec<Destination>,
    started: Option<Moment>,
    version: String,
    shell: Shell,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Asked(asked): Asked,
) -> Result<Response, Failure> {
    let chosen = asked.text("range");
    let at = RANGES.iter().position(|(word, _, _)| *word == chosen).unwrap_or(USUAL);
    let (word, range, seconds) = RANGES[at];
    let statistics = web.looked_back(&caller, shell.now - Duration::from_secs(seconds)).await?;
    let health = web.service.health(&caller).await?;
    let status = web.service.status(&caller).await?;
    let groups = web.service.dead_letter_groups(&caller).await?.items;
    let pipeline = web.service.pipeline(&caller).await?;
    let here = |word: &str| address("/", [("range", word)]);
    page(&OverviewPage {
        here: here(word),
        ranges: RANGES
            .iter()
            .map(|(it, name, _)| Range { to: here(it), name, is_chosen: *it == word })
            .collect(),
        range,
        concerns: concern::all(&shell, &status, &health, &groups),
        is_empty: pipeline.sources.is_empty(),
        is_fresh: status.ledger.events_accepted + status.ledger.events_rejected == 0,
        numbers: numbers(&shell, &statistics, &status, &health, &groups),
        charts: charts(&statistics),
        destinations: health
            .into_iter()
            .map(|it| destination(&shell, it, &status.open_circuits))
            .collect(),
        started: shell.told(&status.started_at),
        version: status.version,
        shell,
    })
}

impl Web {
    /// What happened since then; by the hour where there is too much of it by the minute.
    async fn looked_back(
        &self,
        caller: &Caller,
        since: crate::domain::clock::Timestamp,
    ) -> Result<StatisticsView, Failure> {
        let since = ("since".to_owned(), since.to_iso());
        match self.service.statistics(caller, std::slice::from_ref(&since)).await {
            Err(Refusal::Invalid(_)) => {
                let by_the_hour = ("step_minutes".to_owned(), "60".to_owned());
                Ok(self.service.statistics(caller, &[since, by_the_hour]).await?)
            }
            answer => Ok(answer?),
        }
    }
}

fn numbers(
    shell: &Shell,
    statistics: &StatisticsView,
    status: &StatusView,
    health: &[HealthView],
    groups: &[DeadLetterGroupView],
) -> Numbers {
    let total = statistics.total;
    let oldest = health.iter().filter_map(|it| it.oldest_due_at.as_deref()).min();
    Numbers {
        accepted: count(total.accepted),
        delivered: count(total.delivered),
        attempts: counted(total.attempts, "attempt", "attempts"),
        success: permille(total.success_permille),
        p99: micros(total.p99_us),
        waiting: count(status.ledger.pending + status.ledger.leased),
        oldest: oldest.and_then(|at| shell.told(at)),
        dead: dead_words(groups),
    }
}

/// How many dead letters there are; counting ends somewhere.
pub(super) fn dead_words(groups: &[DeadLetterGroupView]) -> String {
    let sum = groups.iter().map(|group| group.count).sum();
    let more = groups.iter().any(|group| group.more);
    format!("{}{}", count(sum), if more { "+" } else { "" })
}

fn destination(shell: &Shell, it: HealthView, open: &[CircuitView]) -> Destination {
    let CountsView { delivered, dead, success_permille, p50_us, p99_us, .. } = it.last_hour;
    let circuits = open.iter().filter(|circuit| it.open_circuits.contains(&circuit.mapping));
    let (state, why) = if !it.enabled {
        (Badge::new("disabled", "idle"), None)
    } else if let Some(held) = it.held {
        (Badge::new("held", "bad"), Some(held.into()))
    } else if !it.open_circuits.is_empty() {
        (Badge::new("failing", "bad"), None)
    } else {
        match success_permille {
            None => (Badge::new("quiet", "idle"), None),
            Some(900..) => (Badge::new("well", "good"), None),
            Some(_) => (Badge::new("failing", "warn"), None),
        }
    };
    Destination {
        name: it.destination.clone().into(),
        path: address("/deliveries", [("destination", it.destination.as_str())]),
        dead_list: address("/dead-letters", [("destination", it.destination.as_str())]),
        state,
        why,
        circuits: circuits
            .map(|circuit| Circuit {
                mapping: circuit.mapping.rsplit('/').next().unwrap_or_default().into(),
                since: shell.told(&circuit.opened_at),
            })
            .collect(),
        delivered: count(delivered),
        dead,
        success: permille(success_permille),
        p50: micros(p50_us),
        p99: micros(p99_us),
        due: it.oldest_due_at.as_deref().and_then(|at| shell.told(at)),
    }
}

/// A share in percent: `99.4 %`.
pub(super) fn permille(share: Option<u64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(1_000) => "100 %".to_owned(),
        Some(share) => format!("{}.{} %", share / 10, share % 10),
    }
}

/// A span of microseconds.
pub(super) fn micros(us: Option<u64>) -> String {
    us.map_or_else(|| "–".to_owned(), |us| span(Duration::from_micros(us)))
}
