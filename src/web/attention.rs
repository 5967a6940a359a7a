//! The problems that the overview lists, the most severe first, each with a link to look into it.

use std::time::Duration;

use super::form::with_query;
use super::format::at_least;
use super::layout::Layout;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::alert::AlertKind;
use crate::service::dead_letters::DeadLetterGroupView;
use crate::service::pauses::PausedBacklogView;
use crate::service::statistics::HealthView;
use crate::service::status::{AlertView, StatusView};

/// A backlog is a problem when its oldest delivery has been due for longer than this.
const OVERDUE: Duration = Duration::from_secs(5 * 60);

/// A problem.
pub(super) struct AttentionItem {
    /// `bad` or `warn`.
    pub(super) tone: &'static str,
    pub(super) text: Untrusted,
    pub(super) since: Option<RelativeTime>,
    /// The path and label of a link.
    pub(super) link: Option<(String, &'static str)>,
}

impl AttentionItem {
    fn new(tone: &'static str, text: impl Into<Untrusted>) -> Self {
        Self { tone, text: text.into(), since: None, link: None }
    }

    fn since(self, since: Option<RelativeTime>) -> Self {
        Self { since, ..self }
    }

    fn with_link(self, path: String, label: &'static str) -> Self {
        Self { link: Some((path, label)), ..self }
    }
}

const DELIVERIES: &str = "View deliveries";

/// All problems.
pub(super) fn items(
    layout: &Layout,
    status: &StatusView,
    health: &[HealthView],
    groups: &[DeadLetterGroupView],
) -> Vec<AttentionItem> {
    let mut items = Vec::new();
    if let Some(why) = &status.not_ready {
        items.push(AttentionItem::new("bad", format!("Not ready: {why}")));
    }
    if let Some(why) = &status.functions_failure {
        let text = format!("Insert functions do not run, their deliveries stay pending: {why}");
        items.push(AttentionItem::new("bad", text));
    }
    for held in &status.held {
        let path = with_query("/deliveries", [("destination", held.destination.as_str())]);
        let text = format!("{} is held: {}", held.destination, held.why);
        items.push(AttentionItem::new("bad", text).with_link(path, DELIVERIES));
    }
    for faulty in &status.faulty_mappings {
        let path = with_query("/deliveries", [("mapping", faulty.mapping.as_str())]);
        let waiting = at_least(faulty.waiting, faulty.more);
        let (mapping, error) = (&faulty.mapping, &faulty.error);
        let text = format!("{mapping} does not compile, {waiting} waiting: {error}");
        items.push(AttentionItem::new("bad", text).with_link(path, DELIVERIES));
    }
    items.extend(status.paused.iter().map(|it| paused_item(layout, it)));
    for wait in &status.receiver_waits {
        let path = with_query("/deliveries", [("mapping", wait.mapping.as_str())]);
        let text =
            format!("{}: its receiver asked for no request until {}", wait.mapping, wait.until);
        items.push(AttentionItem::new("warn", text).with_link(path, DELIVERIES));
    }
    for circuit in &status.open_circuits {
        let path = with_query("/deliveries", [("mapping", circuit.mapping.as_str())]);
        let text = format!("{}: circuit open", circuit.mapping);
        let since = layout.time(&circuit.opened_at);
        items.push(AttentionItem::new("bad", text).since(since).with_link(path, DELIVERIES));
    }
    items.extend(status.alerts.iter().filter_map(|alert| alert_item(layout, status, alert)));
    items.extend(health.iter().filter_map(|it| overdue_backlog(layout, it)));
    if !groups.is_empty() {
        let is_one = groups.iter().map(|it| it.count).sum::<u64>() == 1;
        let noun = if is_one { "dead letter" } else { "dead letters" };
        let text = format!("{} {noun} to redrive or discard", dead_letter_count(groups));
        let path = "/dead-letters".to_owned();
        items.push(AttentionItem::new("warn", text).with_link(path, "View dead letters"));
    }
    items
}

/// A pause, or the drain of what it held.
fn paused_item(layout: &Layout, it: &PausedBacklogView) -> AttentionItem {
    let pause = &it.pause;
    let filter = if pause.subject.matches('/').count() == 1 { "destination" } else { "mapping" };
    let path = with_query("/deliveries", [(filter, pause.subject.as_str()), ("state", "pending")]);
    let waiting = at_least(it.waiting, it.more);
    let rate = pause.rate_per_second.map(|rate| format!(" at {rate} a second"));
    let (subject, state, by) = (&pause.subject, &pause.state, &pause.by);
    let text =
        format!("{subject} is {state}{} by {by}, {waiting} waiting", rate.unwrap_or_default());
    let since = layout.time(&pause.since);
    AttentionItem::new("warn", text).since(since).with_link(path, DELIVERIES)
}

/// The number of dead letters; counting stops at a limit.
pub(super) fn dead_letter_count(groups: &[DeadLetterGroupView]) -> String {
    let sum = groups.iter().map(|group| group.count).sum();
    at_least(sum, groups.iter().any(|group| group.more))
}

/// A destination with an overdue backlog that no hold or open circuit explains.
fn overdue_backlog(layout: &Layout, it: &HealthView) -> Option<AttentionItem> {
    if !it.enabled || it.held.is_some() || !it.open_circuits.is_empty() {
        return None;
    }
    let due = it.oldest_due_at.as_deref().and_then(|at| layout.time(at))?;
    if due.now.since(due.at) < OVERDUE {
        return None;
    }
    let filters = [("state", "pending"), ("destination", it.destination.as_str())];
    let text = format!("{}: backlog overdue", it.destination);
    let item = AttentionItem::new("warn", text).since(Some(due));
    Some(item.with_link(with_query("/deliveries", filters), "View backlog"))
}

/// An active alert; none for an open circuit that is listed already.
fn alert_item(layout: &Layout, status: &StatusView, alert: &AlertView) -> Option<AttentionItem> {
    let of_destination = |path: &str| with_query(path, [("destination", alert.subject.as_str())]);
    let (tone, link) = match AlertKind::parse(&alert.alert)? {
        AlertKind::CircuitOpen => {
            if status.open_circuits.iter().any(|it| it.mapping == alert.subject) {
                return None;
            }
            let path = with_query("/deliveries", [("mapping", alert.subject.as_str())]);
            ("warn", (path, DELIVERIES))
        }
        AlertKind::DestinationFailing => ("bad", (of_destination("/deliveries"), DELIVERIES)),
        AlertKind::DeadLetters => ("bad", (of_destination("/dead-letters"), "View dead letters")),
        AlertKind::WindowClosing => ("warn", (of_destination("/deliveries"), DELIVERIES)),
        AlertKind::SourceLimited => ("warn", ("/sources".to_owned(), "View sources")),
        AlertKind::ReceiverGone => {
            let path = with_query("/deliveries", [("mapping", alert.subject.as_str())]);
            ("bad", (path, DELIVERIES))
        }
        AlertKind::DiskLow => ("bad", ("/doctor".to_owned(), "Run integrity check")),
    };
    let text = format!("{}: {}", alert.subject, alert.detail);
    let since = layout.time(&alert.raised_at);
    Some(AttentionItem::new(tone, text).since(since).with_link(link.0, link.1))
}
