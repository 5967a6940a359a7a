//! The health of a destination in the last hour, as a row of a table, and the orders that the table can have.

use std::cmp::Reverse;

use super::badge::Badge;
use super::form::with_query;
use super::format::{count, encoded, latency, percent};
use super::layout::Layout;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::service::statistics::{CountsView, HealthView};
use crate::service::status::CircuitView;

/// A destination whose success rate is below this is failing, in permille.
const HEALTHY_PERMILLE: u64 = 900;

/// An open circuit.
pub(super) struct Circuit {
    pub(super) mapping: Untrusted,
    pub(super) since: Option<RelativeTime>,
}

/// The health of a destination.
pub(super) struct DestinationHealth {
    pub(super) path: String,
    pub(super) name: Untrusted,
    pub(super) state: Badge,
    pub(super) held: Option<Untrusted>,
    pub(super) circuits: Vec<Circuit>,
    pub(super) delivered: String,
    pub(super) deliveries_path: String,
    pub(super) dead_letters: String,
    pub(super) dead_letters_path: Option<String>,
    pub(super) success_rate: String,
    pub(super) p50: String,
    pub(super) p99: String,
    pub(super) oldest_due: Option<RelativeTime>,
}

/// How a destination does, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Held,
    CircuitOpen,
    Failing,
    Healthy,
    Idle,
    Disabled,
}

impl Condition {
    fn of(it: &HealthView) -> Self {
        if !it.enabled {
            return Self::Disabled;
        }
        if it.held.is_some() {
            return Self::Held;
        }
        if !it.open_circuits.is_empty() {
            return Self::CircuitOpen;
        }
        match it.last_hour.success_permille {
            None => Self::Idle,
            Some(HEALTHY_PERMILLE..) => Self::Healthy,
            Some(_) => Self::Failing,
        }
    }

    fn badge(self) -> Badge {
        match self {
            Self::Held => Badge::new("held", "bad"),
            Self::CircuitOpen => Badge::new("circuit open", "bad"),
            Self::Failing => Badge::new("failing", "warn"),
            Self::Healthy => Badge::new("healthy", "good"),
            Self::Idle => Badge::new("idle", "idle"),
            Self::Disabled => Badge::new("disabled", "idle"),
        }
    }
}

/// An order of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// By condition, then by dead letters.
    Worst,
    Name,
    Delivered,
    DeadLetters,
    SuccessRate,
    Latency,
    OldestDue,
}

impl Order {
    /// Every order.
    pub(super) const ALL: [Self; 7] = [
        Self::Worst,
        Self::Name,
        Self::Delivered,
        Self::DeadLetters,
        Self::SuccessRate,
        Self::Latency,
        Self::OldestDue,
    ];

    /// Its value in a query.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Worst => "worst",
            Self::Name => "name",
            Self::Delivered => "delivered",
            Self::DeadLetters => "dead",
            Self::SuccessRate => "success",
            Self::Latency => "latency",
            Self::OldestDue => "due",
        }
    }

    /// Sorts destinations: what needs attention comes first, the name decides between equals.
    pub(super) fn sort(self, all: &mut [HealthView]) {
        let name = |it: &HealthView| it.destination.clone();
        match self {
            Self::Worst => all
                .sort_by_cached_key(|it| (Condition::of(it), Reverse(it.last_hour.dead), name(it))),
            Self::Name => all.sort_by_cached_key(name),
            Self::Delivered => {
                all.sort_by_cached_key(|it| (Reverse(it.last_hour.delivered), name(it)));
            }
            Self::DeadLetters => {
                all.sort_by_cached_key(|it| (Reverse(it.last_hour.dead), name(it)));
            }
            Self::SuccessRate => all.sort_by_cached_key(|it| {
                let rate = it.last_hour.success_permille;
                (rate.is_none(), rate, name(it))
            }),
            Self::Latency => {
                all.sort_by_cached_key(|it| (Reverse(it.last_hour.p99_us), name(it)));
            }
            Self::OldestDue => all.sort_by_cached_key(|it| {
                (it.oldest_due_at.is_none(), it.oldest_due_at.clone(), name(it))
            }),
        }
    }
}

/// The page of a destination, by its path.
pub(super) fn page_of(destination: &str) -> String {
    let (source, name) = destination.split_once('/').unwrap_or((destination, ""));
    format!("/sources/{}/destinations/{}", encoded(source), encoded(name))
}

impl DestinationHealth {
    pub(super) fn of(layout: &Layout, it: HealthView, open: &[CircuitView]) -> Self {
        let state = Condition::of(&it).badge();
        let CountsView { delivered, dead, success_permille, p50_us, p99_us, .. } = it.last_hour;
        let circuits = open.iter().filter(|circuit| it.open_circuits.contains(&circuit.mapping));
        let filter = [("destination", it.destination.as_str())];
        Self {
            path: page_of(&it.destination),
            deliveries_path: with_query("/deliveries", filter),
            dead_letters_path: (dead > 0).then(|| with_query("/dead-letters", filter)),
            name: it.destination.clone().into(),
            state,
            held: it.held.filter(|_| it.enabled).map(Untrusted::from),
            circuits: circuits
                .map(|circuit| Circuit {
                    mapping: circuit.mapping.rsplit('/').next().unwrap_or_default().into(),
                    since: layout.time(&circuit.opened_at),
                })
                .collect(),
            delivered: count(delivered),
            dead_letters: count(dead),
            success_rate: percent(success_permille),
            p50: latency(p50_us),
            p99: latency(p99_us),
            oldest_due: it.oldest_due_at.as_deref().and_then(|at| layout.time(at)),
        }
    }
}
