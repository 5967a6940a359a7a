//! What needs attention, the worst first: each with since when, and where to look into it.

use std::time::Duration;

use super::form::address;
use super::moment::Moment;
use super::overview::dead_words;
use super::shell::Shell;
use super::text::Outside;
use crate::domain::alert::AlertKind;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::statistics::HealthView;
use crate::service::status::{AlertView, StatusView};

/// A delivery that has been due for longer than this needs attention.
const LATE: Duration = Duration::from_secs(5 * 60);

/// Something that needs attention.
pub(super) struct Concern {
    /// `bad` or `warn`.
    pub(super) tone: &'static str,
    pub(super) text: Outside,
    pub(super) since: Option<Moment>,
    /// Where to look, and what is there.
    pub(super) link: Option<(String, &'static str)>,
}

impl Concern {
    fn new(tone: &'static str, text: impl Into<Outside>) -> Self {
        Self { tone, text: text.into(), since: None, link: None }
    }

    fn since(self, since: Option<Moment>) -> Self {
        Self { since, ..self }
    }

    fn leading(self, to: String, words: &'static str) -> Self {
        Self { link: Some((to, words)), ..self }
    }
}

/// All of them.
pub(super) fn all(
    shell: &Shell,
    status: &StatusView,
    health: &[HealthView],
    groups: &[DeadLetterGroupView],
) -> Vec<Concern> {
    let mut concerns = Vec::new();
    if let Some(why) = &status.not_ready {
        concerns.push(Concern::new("bad", format!("Not ready: {why}")));
    }
    for held in &status.held {
        let list = address("/deliveries", [("destination", held.destination.as_str())]);
        let text = format!("{} is held: {}", held.destination, held.why);
        concerns.push(Concern::new("bad", text).leading(list, "Its deliveries"));
    }
    for circuit in &status.open_circuits {
        let list = address("/deliveries", [("mapping", circuit.mapping.as_str())]);
        let text = format!("{} fails throughout: one probe at a time", circuit.mapping);
        let since = shell.told(&circuit.opened_at);
        concerns.push(Concern::new("bad", text).since(since).leading(list, "Its deliveries"));
    }
    concerns.extend(status.alerts.iter().filter_map(|alert| alarm(shell, status, alert)));
    let hindered = |it: &&HealthView| it.held.is_some() || !it.open_circuits.is_empty();
    for it in health.iter().filter(|it| it.enabled && !hindered(it)) {
        let due = it.oldest_due_at.as_deref().and_then(|at| shell.told(at));
        let Some(due) = due.filter(|due| due.now.since(due.at) >= LATE) else { continue };
        let of = [("state", "pending"), ("destination", it.destination.as_str())];
        let list = address("/deliveries", of);
        let text = format!("{} is behind: a delivery of it is overdue", it.destination);
        concerns.push(Concern::new("warn", text).since(Some(due)).leading(list, "What waits"));
    }
    if !groups.is_empty() {
        let is_one = groups.iter().map(|it| it.count).sum::<u64>() == 1;
        let text = if is_one {
            "1 dead letter waits for a decision".to_owned()
        } else {
            format!("{} dead letters wait for a decision", dead_words(groups))
        };
        let there = "/dead-letters".to_owned();
        concerns.push(Concern::new("warn", text).leading(there, "Dead letters"));
    }
    concerns
}

/// An alert that stands; none for one that is told by what it is about already.
fn alarm(shell: &Shell, status: &StatusView, alert: &AlertView) -> Option<Concern> {
    let of_destination = |path: &str| address(path, [("destination", alert.subject.as_str())]);
    let (tone, link) = match AlertKind::parse(&alert.alert)? {
        AlertKind::CircuitOpen => {
            if status.open_circuits.iter().any(|it| it.mapping == alert.subject) {
                return None;
            }
            let list = address("/deliveries", [("mapping", alert.subject.as_str())]);
            ("warn", (list, "Its deliveries"))
        }
        AlertKind::DestinationFailing => ("bad", (of_destination("/deliveries"), "Its deliveries")),
        AlertKind::DeadLetters => ("bad", (of_destination("/dead-letters"), "Its dead letters")),
        AlertKind::WindowClosing => ("warn", (of_destination("/deliveries"), "Its deliveries")),
        AlertKind::DiskLow => ("bad", ("/doctor".to_owned(), "Doctor")),
    };
    let text = format!("{}: {}", alert.subject, alert.detail);
    let since = shell.told(&alert.raised_at);
    Some(Concern::new(tone, text).since(since).leading(link.0, link.1))
}
