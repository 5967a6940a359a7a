//! Segment's destination filters: one that drops events becomes a condition of each mapping's trigger. What the
//! others do has no counterpart: their destination is disabled, so that nothing is sent that Segment held back.

use serde_json::{Map, Value};

use super::export::{is_enabled, text};
use super::report::{Findings, Kind};
use super::subscription::indexed_trigger;
use crate::trigger::Trigger;

/// What a destination's filters do.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Conditions under which an event is dropped.
    pub(super) drops: Vec<String>,
    /// Whether the destination must not be enabled as it is.
    pub(super) disables: bool,
}

impl Filters {
    /// Those of the destination `at` this path.
    pub(super) fn of<'f>(
        filters: impl Iterator<Item = &'f Map<String, Value>>,
        at: &str,
        findings: &mut Findings,
    ) -> Self {
        let mut all = Self::default();
        for filter in filters {
            let name = text(filter, "title").or_else(|| text(filter, "id")).unwrap_or("a filter");
            let field = format!("filters.{name}");
            if !is_enabled(filter) {
                findings.add(at, &field, Kind::LeftOut, "it is disabled");
                continue;
            }
            let condition = indexed_trigger(text(filter, "if").unwrap_or("all"));
            let actions = filter.get("actions").and_then(Value::as_array);
            if actions.is_none_or(Vec::is_empty) {
                findings.add(at, &field, Kind::LeftOut, "it has no actions");
            }
            for action in actions.into_iter().flatten() {
                let kind = action.get("type").and_then(Value::as_str).unwrap_or_default();
                let (kind, message) = if kind.eq_ignore_ascii_case("drop") {
                    all.drop(&condition)
                } else {
                    all.disables = true;
                    let message = format!(
                        "{kind:?} has no counterpart: the destination is disabled. Write an insert \
                         function that does it, then enable it"
                    );
                    (Kind::ToDo, message)
                };
                findings.add(at, &field, kind, message);
            }
        }
        all
    }

    fn drop(&mut self, condition: &str) -> (Kind, String) {
        if condition.trim().eq_ignore_ascii_case("all") {
            self.disables = true;
            return (Kind::Changed, "it drops every event: the destination is disabled".to_owned());
        }
        match Trigger::parse(condition) {
            Ok(_) => {
                self.drops.push(condition.to_owned());
                (Kind::Changed, format!("is part of each mapping's trigger: !({condition})"))
            }
            Err(error) => {
                self.disables = true;
                let message = format!(
                    "its condition cannot be read, {error}: the destination is disabled. Write it \
                     into the triggers, then enable it"
                );
                (Kind::ToDo, message)
            }
        }
    }

    /// A trigger that matches what these do not drop.
    pub(super) fn narrow(&self, trigger: &str) -> String {
        let kept = self.drops.iter().map(|condition| format!("!({condition})"));
        let own = (!trigger.trim().is_empty()).then(|| match self.drops.is_empty() {
            true => trigger.to_owned(),
            false => format!("({trigger})"),
        });
        own.into_iter().chain(kept).collect::<Vec<_>>().join(" and ")
    }
}
