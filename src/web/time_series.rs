//! The time series of the overview: throughput, success rate, latency, backlog, dead letters.

use std::collections::HashMap;

use super::chart::{Chart, ChartData, SeriesData};
use super::format::{count, latency, percent};
use crate::domain::clock::Timestamp;
use crate::service::statistics::{CountsView, LevelView, StatisticsView};

/// The steps of a time range with their counts; steps without activity have zeros.
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

    /// One value per step.
    fn each(&self, value: impl Fn(&CountsView) -> Option<f64>) -> Vec<Option<f64>> {
        self.counts.iter().map(value).collect()
    }

    /// A gauge keeps its value until the next sample; before the first sample there is none.
    fn gauge(&self, levels: &[LevelView], value: impl Fn(&LevelView) -> u64) -> Vec<Option<f64>> {
        let mut next = levels.iter().peekable();
        let mut now = None;
        let mut values = Vec::with_capacity(self.at.len());
        for at in &self.at {
            let began = |it: &&LevelView| Timestamp::parse_iso(&it.at).is_some_and(|it| it <= *at);
            while let Some(level) = next.next_if(began) {
                now = Some(to_f64(value(level)));
            }
            values.push(now);
        }
        values
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart is a few hundred pixels high")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value was a count"
)]
fn to_count(value: f64) -> u64 {
    value.round() as u64
}

fn series(
    name: &'static str,
    tone: &'static str,
    total: String,
    values: Vec<Option<f64>>,
) -> SeriesData {
    SeriesData { name, tone, total, values, filled: false }
}

/// With the area under the line filled.
fn filled(series: SeriesData) -> SeriesData {
    SeriesData { filled: true, ..series }
}

/// A chart of counts.
fn count_chart(title: &'static str, steps: &Steps, series: Vec<SeriesData>) -> Chart {
    let label = |value| count(to_count(value));
    ChartData { title, steps: &steps.at, series, label, top: None }.draw()
}

/// The charts of the overview. Gauges cover the whole service: a caller with limited access has none.
pub(super) fn charts(statistics: &StatisticsView) -> Vec<Chart> {
    let (steps, total) = (Steps::of(statistics), statistics.total);
    let counts = |value: fn(&CountsView) -> u64| steps.each(|it| Some(to_f64(value(it))));
    let accepted = series("accepted", "tone-live", count(total.accepted), counts(|it| it.accepted));
    let delivered =
        series("delivered", "tone-good", count(total.delivered), counts(|it| it.delivered));
    let new = series("new", "tone-bad", count(total.dead), counts(|it| it.dead));
    let mut charts = vec![
        count_chart("Throughput", &steps, vec![filled(accepted), delivered]),
        success_rate(&steps, total),
        latency_chart(&steps, total),
    ];
    let Some(last) = statistics.levels.last() else {
        charts.push(count_chart("Dead letters", &steps, vec![new]));
        return charts;
    };
    let waiting = steps.gauge(&statistics.levels, |it| it.waiting);
    let backlog = series("backlog", "tone-idle", count(last.waiting), waiting);
    let kept = steps.gauge(&statistics.levels, |it| it.dead);
    let total = series("total", "tone-idle", count(last.dead), kept);
    charts.push(count_chart("Backlog", &steps, vec![filled(backlog)]));
    charts.push(count_chart("Dead letters", &steps, vec![filled(total), new]));
    charts
}

fn success_rate(steps: &Steps, total: CountsView) -> Chart {
    let share = steps.each(|it| it.success_permille.map(|share| to_f64(share) / 10.0));
    ChartData {
        title: "Success rate",
        steps: &steps.at,
        series: vec![series("success rate", "tone-good", percent(total.success_permille), share)],
        label: |value| format!("{value:.0} %"),
        top: Some(100.0),
    }
    .draw()
}

fn latency_chart(steps: &Steps, total: CountsView) -> Chart {
    let p50 = steps.each(|it| it.p50_us.map(to_f64));
    let p99 = steps.each(|it| it.p99_us.map(to_f64));
    ChartData {
        title: "Latency",
        steps: &steps.at,
        series: vec![
            series("p50", "tone-live", latency(total.p50_us), p50),
            series("p99", "tone-warn", latency(total.p99_us), p99),
        ],
        label: |value| latency(Some(to_count(value))),
        top: None,
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_activity_are_zero_and_gauges_keep_their_value() {
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
        let waiting = steps.gauge(&statistics.levels, |it| it.waiting);
        assert_eq!(waiting, [9.0, 9.0, 4.0, 4.0, 4.0].map(Some));
        let later = steps.gauge(&statistics.levels[1..], |it| it.waiting);
        assert_eq!(later[..3], [None, None, Some(4.0)]);
        assert_eq!(charts(&statistics).len(), 5);
        let limited = StatisticsView { levels: Vec::new(), ..statistics };
        assert_eq!(charts(&limited).len(), 4, "gauges cover the whole service");
    }
}
