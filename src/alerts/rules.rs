//! The alert rules: conditions over the statistics of destinations and over disk space. Pure: the time is
//! an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::domain::alert::{AlertKind, Condition};
use crate::domain::service_time::ServiceTime;

/// The window of the failure rate.
const FAILING_WINDOW: Duration = Duration::from_secs(10 * 60);
/// The minimum number of attempts in the window for an alert.
const FAILING_MIN_ATTEMPTS: u64 = 20;
/// The window of the dead letter count.
const DEAD_WINDOW: Duration = Duration::from_secs(60 * 60);

/// One minute of a destination's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Minute {
    /// When it ended.
    pub(super) ended_at: ServiceTime,
    pub(super) attempts: u64,
    pub(super) delivered: u64,
    pub(super) dead: u64,
}

/// The statistics of every destination over the last hour.
#[derive(Debug, Default)]
pub(super) struct DestinationStatistics {
    by_destination: BTreeMap<String, VecDeque<Minute>>,
}

impl DestinationStatistics {
    /// Adds a minute of one of a destination's mappings.
    pub(super) fn add(&mut self, destination: &str, minute: Minute) {
        let minutes = self.by_destination.entry(destination.to_owned()).or_default();
        match minutes.iter_mut().find(|it| it.ended_at == minute.ended_at) {
            Some(known) => {
                known.attempts += minute.attempts;
                known.delivered += minute.delivered;
                known.dead += minute.dead;
            }
            None => minutes.push_back(minute),
        }
    }

    /// Drops minutes older than an hour.
    pub(super) fn prune(&mut self, now: ServiceTime) {
        for minutes in self.by_destination.values_mut() {
            minutes.retain(|it| it.ended_at + DEAD_WINDOW > now);
        }
        self.by_destination.retain(|_, minutes| !minutes.is_empty());
    }

    /// Destinations whose failure rate is high, and those with at least half of `dead_per_hour` dead
    /// letters.
    pub(super) fn conditions(&self, dead_per_hour: u64, now: ServiceTime) -> Vec<Condition> {
        let mut found = Vec::new();
        for (destination, minutes) in &self.by_destination {
            let recent = minutes.iter().filter(|it| it.ended_at + FAILING_WINDOW > now);
            let sum = recent.fold(Minute::default(), |sum, it| Minute {
                attempts: sum.attempts + it.attempts,
                delivered: sum.delivered + it.delivered,
                ..sum
            });
            found.extend(failing(destination, sum));
            let dead: u64 = minutes.iter().map(|it| it.dead).sum();
            if dead_per_hour > 0 && dead * 2 >= dead_per_hour {
                found.push(Condition {
                    kind: AlertKind::DeadLetters,
                    subject: destination.clone(),
                    detail: format!("{dead} dead letters within an hour"),
                    raises: dead >= dead_per_hour,
                });
            }
        }
        found
    }
}

/// A failure rate above 50 % raises the alert; above 10 % keeps it active.
fn failing(destination: &str, sum: Minute) -> Option<Condition> {
    let Minute { attempts, delivered, .. } = sum;
    let failed = attempts.saturating_sub(delivered);
    (failed * 10 > attempts).then(|| Condition {
        kind: AlertKind::DestinationFailing,
        subject: destination.to_owned(),
        detail: format!("{failed} of {attempts} attempts failed within ten minutes"),
        raises: attempts >= FAILING_MIN_ATTEMPTS && failed * 2 > attempts,
    })
}

/// Free space below twice the floor raises the alert; below two and a half times the floor keeps it
/// active.
pub(super) fn disk(node: &str, free_bytes: u64, floor_bytes: u64) -> Option<Condition> {
    let is_near = floor_bytes > 0 && free_bytes / 5 < floor_bytes / 2;
    is_near.then(|| Condition {
        kind: AlertKind::DiskLow,
        subject: node.to_owned(),
        detail: format!(
            "{} MiB are free; below {} MiB events are refused",
            free_bytes >> 20,
            floor_bytes >> 20
        ),
        raises: free_bytes / 2 < floor_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> ServiceTime {
        ServiceTime::from_micros(0) + Duration::from_secs(minutes * 60)
    }

    fn minute(minutes: u64, attempts: u64, delivered: u64, dead: u64) -> Minute {
        Minute { ended_at: at(minutes), attempts, delivered, dead }
    }

    fn of(kind: AlertKind, statistics: &DestinationStatistics, now: ServiceTime) -> Option<bool> {
        let found = statistics.conditions(100, now);
        found.into_iter().find(|it| it.kind == kind).map(|it| it.raises)
    }

    #[test]
    fn a_failure_rate_above_half_of_enough_attempts_raises_an_alert() {
        for (attempts, delivered, expected) in [
            (19, 0, Some(false)),
            (20, 0, Some(true)),
            (20, 9, Some(true)),
            (20, 10, Some(false)),
            (20, 17, Some(false)),
            (20, 18, None),
            (0, 0, None),
        ] {
            let mut statistics = DestinationStatistics::default();
            statistics.add("website/one", minute(0, attempts, delivered, 0));
            let found = of(AlertKind::DestinationFailing, &statistics, at(1));
            assert_eq!(found, expected, "{delivered} of {attempts}");
        }
    }

    #[test]
    fn mappings_of_a_destination_are_summed_within_the_window() {
        let mut statistics = DestinationStatistics::default();
        statistics.add("website/one", minute(0, 15, 0, 60));
        statistics.add("website/one", minute(0, 15, 0, 60));
        assert_eq!(of(AlertKind::DestinationFailing, &statistics, at(1)), Some(true));
        assert_eq!(of(AlertKind::DestinationFailing, &statistics, at(10)), None);
        assert_eq!(of(AlertKind::DeadLetters, &statistics, at(59)), Some(true));
        statistics.prune(at(60));
        assert_eq!(of(AlertKind::DeadLetters, &statistics, at(60)), None);
    }

    #[test]
    fn half_the_dead_letter_threshold_keeps_an_alert_active() {
        for (dead, expected) in
            [(49, None), (50, Some(false)), (99, Some(false)), (100, Some(true))]
        {
            let mut statistics = DestinationStatistics::default();
            statistics.add("website/one", minute(0, 200, 200, dead));
            assert_eq!(of(AlertKind::DeadLetters, &statistics, at(1)), expected, "{dead}");
        }
        let mut statistics = DestinationStatistics::default();
        statistics.add("website/one", minute(0, 200, 200, 1_000));
        assert_eq!(statistics.conditions(0, at(1)), [], "0 disables it");
    }

    #[test]
    fn low_disk_space_raises_an_alert_before_events_are_refused() {
        let raises = |free| disk("node", free, 1_000).map(|it| it.raises);
        assert_eq!(
            [raises(999), raises(1_999), raises(2_000)],
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!([raises(2_499), raises(2_500)], [Some(false), None]);
        assert_eq!(disk("node", 0, 0), None, "no floor, no alert");
    }
}
