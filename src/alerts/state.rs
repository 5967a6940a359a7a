//! The board: which alerts stand, by what was found at each look. Pure: it is told the time.

use std::collections::HashMap;

use crate::domain::alert::{Alert, AlertKind, Condition};
use crate::domain::clock::Timestamp;

/// Alerts that stand at once at most: beyond them the log and the numbers have to do.
const LIMIT: usize = 1_000;

/// The alerts that stand or whose end is not told yet.
#[derive(Debug, Default)]
pub(super) struct Board {
    alerts: Vec<Alert>,
    /// When each was last found to hold.
    held_at: HashMap<(AlertKind, String), Timestamp>,
}

impl Board {
    /// Goes on where an earlier process was. What stands is taken to hold now: the time that it has
    /// to be over counts from here.
    pub(super) fn resume(alerts: Vec<Alert>, now: Timestamp) -> Self {
        let held_at = alerts.iter().map(|it| ((it.kind, it.subject.clone()), now)).collect();
        Self { alerts, held_at }
    }

    /// Every alert.
    pub(super) fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Takes what was found; returns the alerts that were raised or cleared by it.
    pub(super) fn look(&mut self, found: Vec<Condition>, now: Timestamp) -> Vec<Alert> {
        let mut turned = Vec::new();
        for condition in found {
            let key = (condition.kind, condition.subject.clone());
            let stands = self.position(&key).is_some_and(|at| self.alerts[at].stands());
            if stands || condition.raises {
                self.held_at.insert(key, now);
            }
            if !stands && condition.raises && self.alerts.len() < LIMIT {
                turned.push(self.raise(condition, now));
            }
        }
        for alert in &mut self.alerts {
            let key = (alert.kind, alert.subject.clone());
            let held_at = self.held_at.get(&key).copied().unwrap_or(now);
            if alert.stands() && now.since(held_at) >= alert.kind.calm() {
                (alert.cleared_at, alert.told) = (Some(now), false);
                self.held_at.remove(&key);
                turned.push(alert.clone());
            }
        }
        turned
    }

    /// Raises one, in the place of one whose end was not told in time.
    fn raise(&mut self, condition: Condition, now: Timestamp) -> Alert {
        let Condition { kind, subject, detail, .. } = condition;
        self.forget(kind, &subject);
        let alert = Alert { kind, subject, detail, raised_at: now, cleared_at: None, told: false };
        self.alerts.push(alert.clone());
        alert
    }

    /// The newest of an alert has been told.
    pub(super) fn told(&mut self, kind: AlertKind, subject: &str) {
        let Some(at) = self.position(&(kind, subject.to_owned())) else { return };
        self.alerts[at].told = true;
        if !self.alerts[at].stands() {
            self.alerts.swap_remove(at);
        }
    }

    fn forget(&mut self, kind: AlertKind, subject: &str) {
        self.alerts.retain(|it| it.kind != kind || it.subject != subject);
    }

    fn position(&self, (kind, subject): &(AlertKind, String)) -> Option<usize> {
        self.alerts.iter().position(|it| it.kind == *kind && it.subject == *subject)
    }

    /// Moves times by a jump of the clock.
    pub(super) fn shift(&mut self, micros: i64) {
        self.held_at.values_mut().for_each(|at| *at = at.shifted(micros));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(seconds)
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
    fn it_is_raised_once_and_cleared_once_it_was_calm() {
        let mut board = Board::default();
        assert_eq!(board.look(found(false), at(0)), [], "not enough to raise it");
        assert_eq!(board.look(found(true), at(10)).len(), 1);
        assert_eq!(board.look(found(true), at(20)), []);
        assert_eq!(board.look(found(false), at(400)), [], "enough to keep it up");
        assert_eq!(board.look(Vec::new(), at(699)), [], "not calm for long enough");
        let cleared = board.look(Vec::new(), at(700));
        assert_eq!(cleared[0].cleared_at, Some(at(700)));
        assert_eq!(board.look(Vec::new(), at(2_000)), []);
        board.told(AlertKind::DeadLetters, "website/one");
        assert!(board.alerts().is_empty());
    }

    #[test]
    fn what_comes_and_goes_is_told_once() {
        let mut board = Board::default();
        let turned = (0..600).flat_map(|look| {
            let found = if look % 2 == 0 { found(true) } else { Vec::new() };
            board.look(found, at(look * 10))
        });
        assert_eq!(turned.count(), 1);
    }

    #[test]
    fn one_that_stood_before_a_restart_is_not_raised_again() {
        let mut board = Board::default();
        let raised = board.look(found(true), at(0));
        let mut after = Board::resume(raised, at(3_600));
        assert_eq!(after.look(found(true), at(3_600)), []);
        assert_eq!(after.look(Vec::new(), at(3_899)), [], "calm counts from the restart");
        assert_eq!(after.look(Vec::new(), at(3_900)).len(), 1);
    }

    #[test]
    fn one_that_is_raised_again_before_its_end_was_told_stands_once() {
        let mut board = Board::default();
        board.look(found(true), at(0));
        board.look(Vec::new(), at(300));
        assert_eq!(board.look(found(true), at(310)).len(), 1);
        assert_eq!(board.alerts().len(), 1);
        assert!(board.alerts()[0].stands());
    }

    #[test]
    fn a_jump_of_the_clock_clears_nothing() {
        let mut board = Board::default();
        board.look(found(true), at(0));
        board.shift(3_600_000_000);
        assert_eq!(board.look(Vec::new(), at(3_601)), []);
        assert_eq!(board.look(Vec::new(), at(3_900)).len(), 1);
    }
}
