//! The charts of the overview: what came in and went out, how well, how fast, what waits, what died.

use std::collections::HashMap;

use super::chart::{Chart, Drawing, Quantity};
use super::overview::{micros, permille};
use super::text::count;
use crate::domain::clock::Timestamp;
use crate::service::statistics::{CountsView, LevelView, StatisticsView};

/// The steps of a range with what happened in each, those in which nothing did included.
struct Steps {
    at: Vec<Timestamp>,
    counts: Vec<CountsView>,
}

impl Steps {
    fn of(statistics: &StatisticsView) -> Self {
        let known: HashMap<&str, CountsView> =
            statistics.steps.iter().map(|step| (step.at.as_str(), step.counts)).collect();
        let step = i64::from(statistics.step_minutes.max(1)) * 60_000_000;
        let bound = |iso: &str| Timestamp::parse_iso(iso).map_or(0, Timestamp::as_micros);
        let first = bound(&statistics.since).div_euclid(step);
        let last = bound(&statistics.until).div_euclid(step);
        let at: Vec<_> =
            (first..=last).map(|number| Timestamp::from_micros(number * step)).collect();
        let counts =
            at.iter().map(|at| known.get(at.to_iso().as_str()).copied().unwrap_or_default());
        Self { counts: counts.collect(), at }
    }

    fn each(&self, value: impl Fn(&CountsView) -> Option<f64>) -> Vec<Option<f64>> {
        self.counts.iter().map(value).collect()
    }

    /// A level goes on until it changes; before the first that is known there is none.
    fn level(&self, levels: &[LevelView], value: impl Fn(&LevelView) -> u64) -> Vec<Option<f64>> {
        let mut next = levels.iter().peekable();
        let mut now = None;
        let mut values = Vec::with_capacity(self.at.len());
        for at in &self.at {
            let began = |it: &&LevelView| Timestamp::parse_iso(&it.at).is_some_and(|it| it <= *at);
            while let Some(level) = next.next_if(began) {
                now = Some(height(value(level)));
            }
            values.push(now);
        }
        values
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart is a few hundred points high")]
fn height(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was made of a count"
)]
fn number(value: f64) -> u64 {
    value.round() as u64
}

/// A line.
fn quantity(
    name: &'static str,
    tone: &'static str,
    total: String,
    values: Vec<Option<f64>>,
) -> Quantity {
    Quantity { name, tone, total, values, filled: false }
}

/// A line with its ground.
fn ground(quantity: Quantity) -> Quantity {
    Quantity { filled: true, ..quantity }
}

/// A chart of counts.
fn counted(title: &'static str, steps: &Steps, quantities: Vec<Quantity>) -> Chart {
    let words = |value| count(number(value));
    Drawing { title, steps: &steps.at, quantities, words, top: None }.draw()
}

/// All charts of the overview. What is of the service as a whole is left out where it is not told.
pub(super) fn charts(statistics: &StatisticsView) -> Vec<Chart> {
    let (steps, total) = (Steps::of(statistics), statistics.total);
    let counts = |value: fn(&CountsView) -> u64| steps.each(|it| Some(height(value(it))));
    let accepted =
        quantity("accepted", "tone-live", count(total.accepted), counts(|it| it.accepted));
    let delivered =
        quantity("delivered", "tone-good", count(total.delivered), counts(|it| it.delivered));
    let died = quantity("died", "tone-bad", count(total.dead), counts(|it| it.dead));
    let mut charts = vec![
        counted("Throughput", &steps, vec![ground(accepted), delivered]),
        success(&steps, total),
        latency(&steps, total),
    ];
    let Some(last) = statistics.levels.last() else {
        charts.push(counted("Dead letters", &steps, vec![died]));
        return charts;
    };
    let waiting = steps.level(&statistics.levels, |it| it.waiting);
    let waiting = quantity("waiting", "tone-idle", count(last.waiting), waiting);
    let kept = steps.level(&statistics.levels, |it| it.dead);
    let kept = quantity("kept", "tone-idle", count(last.dead), kept);
    charts.push(counted("Waiting", &steps, vec![ground(waiting)]));
    charts.push(counted("Dead letters", &steps, vec![ground(kept), died]));
    charts
}

fn success(steps: &Steps, total: CountsView) -> Chart {
    let share = steps.each(|it| it.success_permille.map(|share| height(share) / 10.0));
    Drawing {
        title: "Attempts that delivered",
        steps: &steps.at,
        quantities: vec![quantity("success", "tone-good", permille(total.success_permille), share)],
        words: |value| format!("{value:.0} %"),
        top: Some(100.0),
    }
    .draw()
}

fn latency(steps: &Steps, total: CountsView) -> Chart {
    let median = steps.each(|it| it.p50_us.map(height));
    let most = steps.each(|it| it.p99_us.map(height));
    Drawing {
        title: "How long attempts take",
        steps: &steps.at,
        quantities: vec![
            quantity("median", "tone-live", micros(total.p50_us), median),
            quantity("99 of 100", "tone-warn", micros(total.p99_us), most),
        ],
        words: |value| micros(Some(number(value))),
        top: None,
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_nothing_and_a_level_goes_on() {
        let at = |step: i64| Timestamp::from_micros(step * 60_000_000);
        let level = |step, waiting| LevelView { at: at(step).to_iso(), waiting, dead: 0 };
        let counts = CountsView { accepted: 7, ..CountsView::default() };
        let statistics = StatisticsView {
            since: at(10).to_iso(),
            until: at(14).to_iso(),
            step_minutes: 1,
            steps: vec![crate::service::statistics::StepView { at: at(12).to_iso(), counts }],
            total: counts,
            levels: vec![level(3, 9), level(12, 4)],
        };
        let steps = Steps::of(&statistics);
        let accepted: Vec<_> = steps.counts.iter().map(|it| it.accepted).collect();
        assert_eq!(accepted, [0, 0, 7, 0, 0]);
        let waiting = steps.level(&statistics.levels, |it| it.waiting);
        assert_eq!(waiting, [9.0, 9.0, 4.0, 4.0, 4.0].map(Some));
        let later = steps.level(&statistics.levels[1..], |it| it.waiting);
        assert_eq!(later[..3], [None, None, Some(4.0)]);
        assert_eq!(charts(&statistics).len(), 5);
        let limited = StatisticsView { levels: Vec::new(), ..statistics };
        assert_eq!(charts(&limited).len(), 4, "levels are of the whole service");
    }
}
