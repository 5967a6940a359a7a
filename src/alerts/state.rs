//! The state of alerts: raised and cleared by the conditions of each evaluation, with hysteresis. Pure: the
//! time is an argument.

use std::collections::HashMap;

use crate::domain::alert::{Alert, AlertKind, Condition};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::service_time::ServiceTime;

/// Active alerts at most; further conditions raise none.
const MAX_ALERTS: usize = 1_000;

/// Active alerts, and cleared ones that are not published yet.
#[derive(Debug, Default)]
pub(super) struct AlertState {
    alerts: Vec<Alert>,
    /// When the condition of each last held.
    held_at: HashMap<(AlertKind, String), ServiceTime>,
}

impl AlertState {
    /// Restores the state after a restart. Conditions are taken to hold now: the time until an alert is
    /// cleared counts from here.
    pub(super) fn resume(alerts: Vec<Alert>, now: ServiceTime) -> Self {
        let held_at = alerts.iter().map(|it| ((it.kind, it.subject.clone()), now)).collect();
        Self { alerts, held_at }
    }

    /// All alerts.
    pub(super) fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Applies the conditions of an evaluation; returns the alerts that were raised or cleared.
    pub(super) fn update(&mut self, found: Vec<Condition>, now: Moment) -> Vec<Alert> {
        let mut changed = Vec::new();
        for condition in found {
            let key = (condition.kind, condition.subject.clone());
            let is_active = self.position(&key).is_some_and(|at| self.alerts[at].is_active());
            if is_active || condition.raises {
                self.held_at.insert(key, now.service);
            }
            if !is_active && condition.raises && self.alerts.len() < MAX_ALERTS {
                changed.push(self.raise(condition, now.wall));
            }
        }
        for alert in &mut self.alerts {
            let key = (alert.kind, alert.subject.clone());
            let held_at = self.held_at.get(&key).copied().unwrap_or(now.service);
            if alert.is_active() && now.service.since(held_at) >= alert.kind.calm() {
                (alert.cleared_at, alert.published) = (Some(now.wall), false);
                self.held_at.remove(&key);
                changed.push(alert.clone());
            }
        }
        changed
    }

    /// Raises an alert; it replaces a cleared one that was not published in time.
    fn raise(&mut self, condition: Condition, now: Timestamp) -> Alert {
        let Condition { kind, subject, detail, .. } = condition;
        self.remove(kind, &subject);
        let alert =
            Alert { kind, subject, detail, raised_at: now, cleared_at: None, published: false };
        self.alerts.push(alert.clone());
        alert
    }

    /// Records that an alert's last change was published; a cleared alert is dropped.
    pub(super) fn mark_published(&mut self, kind: AlertKind, subject: &str) {
        let Some(at) = self.position(&(kind, subject.to_owned())) else { return };
        self.alerts[at].published = true;
        if !self.alerts[at].is_active() {
            self.alerts.swap_remove(at);
        }
    }

    fn remove(&mut self, kind: AlertKind, subject: &str) {
        self.alerts.retain(|it| it.kind != kind || it.subject != subject);
    }

    fn position(&self, (kind, subject): &(AlertKind, String)) -> Option<usize> {
        self.alerts.iter().position(|it| it.kind == *kind && it.subject == *subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        let span = Duration::from_secs(seconds);
        Moment { wall: Timestamp::default() + span, service: ServiceTime::default() + span }
    }

    fn found(raises: bool) -> Vec<Condition> {
        vec![Condition {
            kind: AlertKind::DeadLetters,
            subject: "website/one".to_owned(),
            detail: "120 in an hour".to_owned(),
            raises,
        }]
    }

    #[test]
    fn an_alert_is_raised_once_and_cleared_after_its_calm_period() {
        let mut state = AlertState::default();
        assert_eq!(state.update(found(false), at(0)), [], "below the threshold");
        assert_eq!(state.update(found(true), at(10)).len(), 1);
        assert_eq!(state.update(found(true), at(20)), []);
        assert_eq!(state.update(found(false), at(400)), [], "enough to keep it active");
        assert_eq!(state.update(Vec::new(), at(699)), [], "before the calm period has passed");
        let cleared = state.update(Vec::new(), at(700));
        assert_eq!(cleared[0].cleared_at, Some(at(700).wall));
        assert_eq!(state.update(Vec::new(), at(2_000)), []);
        state.mark_published(AlertKind::DeadLetters, "website/one");
        assert!(state.alerts().is_empty());
    }

    #[test]
    fn a_flapping_condition_raises_one_alert() {
        let mut state = AlertState::default();
        let changed = (0..600).flat_map(|round| {
            let found = if round % 2 == 0 { found(true) } else { Vec::new() };
            state.update(found, at(round * 10))
        });
        assert_eq!(changed.count(), 1);
    }

    #[test]
    fn an_alert_active_before_a_restart_is_not_raised_again() {
        let mut state = AlertState::default();
        let raised = state.update(found(true), at(0));
        let mut after = AlertState::resume(raised, at(3_600).service);
        assert_eq!(after.update(found(true), at(3_600)), []);
        assert_eq!(
            after.update(Vec::new(), at(3_899)),
            [],
            "the calm period counts from the restart"
        );
        assert_eq!(after.update(Vec::new(), at(3_900)).len(), 1);
    }

    #[test]
    fn an_alert_raised_again_before_its_clearing_was_published_is_kept_once() {
        let mut state = AlertState::default();
        state.update(found(true), at(0));
        state.update(Vec::new(), at(300));
        assert_eq!(state.update(found(true), at(310)).len(), 1);
        assert_eq!(state.alerts().len(), 1);
        assert!(state.alerts()[0].is_active());
    }

    #[test]
    fn a_step_of_the_clock_clears_no_alert() {
        let mut state = AlertState::default();
        state.update(found(true), at(0));
        let stepped = |seconds| Moment { wall: at(3_600 + seconds).wall, ..at(seconds) };
        assert_eq!(state.update(Vec::new(), stepped(1)), []);
        assert_eq!(state.update(Vec::new(), stepped(300)).len(), 1);
    }
}
