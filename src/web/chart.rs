//! Line charts as SVG paths, scaled to a round number above their peak, with a table of the values for
//! tooltips and screen readers.

use std::fmt::Write as _;

use crate::domain::clock::Timestamp;

/// The size of the view box; pages stretch it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// Labels on the time axis, both ends included.
const TIME_LABELS: usize = 5;

/// A chart for its template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) series: Vec<Series>,
    /// The value at the top of the value axis.
    pub(super) top: String,
    /// Labels of the time axis.
    pub(super) time_labels: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) tone: &'static str,
    pub(super) total: String,
    pub(super) line: String,
    /// Isolated values: zero-length lines, which round caps make dots.
    pub(super) dots: String,
    /// The area under the line; empty for none.
    pub(super) area: String,
}

/// The values of one step as text, and the position of its tooltip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) at: String,
    pub(super) values: Vec<String>,
    pub(super) x: String,
    pub(super) width: String,
}

/// The values of one line; none where there is no data.
pub(super) struct SeriesData {
    pub(super) name: &'static str,
    pub(super) tone: &'static str,
    pub(super) total: String,
    pub(super) values: Vec<Option<f64>>,
    pub(super) filled: bool,
}

/// The data of a chart.
pub(super) struct ChartData<'a> {
    pub(super) title: &'static str,
    /// The start of each step.
    pub(super) steps: &'a [Timestamp],
    pub(super) series: Vec<SeriesData>,
    /// Formats a value.
    pub(super) label: fn(f64) -> String,
    /// The value at the top; none for a round number above the peak.
    pub(super) top: Option<f64>,
}

impl ChartData<'_> {
    pub(super) fn draw(self) -> Chart {
        let values = self.series.iter().flat_map(|one| one.values.iter().flatten());
        let top = self.top.unwrap_or_else(|| round_above(values.copied().fold(0.0, f64::max)));
        Chart {
            title: self.title,
            top: (self.label)(top),
            time_labels: self.time_labels(),
            rows: self.rows(),
            series: self
                .series
                .into_iter()
                .map(|one| Series {
                    line: line(&one.values, top),
                    dots: dots(&one.values, top),
                    area: if one.filled { area(&one.values, top) } else { String::new() },
                    name: one.name,
                    tone: one.tone,
                    total: one.total,
                })
                .collect(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        let label = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), self.label);
        let count = self.steps.len();
        let wide = x_of(1, count);
        self.steps
            .iter()
            .enumerate()
            .map(|(at, step)| Row {
                at: minute(*step),
                values: self
                    .series
                    .iter()
                    .map(|one| one.values.get(at).map_or_else(String::new, label))
                    .collect(),
                x: format!("{:.1}", x_of(at, count) - wide / 2.0),
                width: format!("{wide:.1}"),
            })
            .collect()
    }

    /// Evenly spaced labels: the time of day for a range of up to two days, otherwise dates.
    fn time_labels(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.steps.first(), self.steps.last()) else {
            return Vec::new();
        };
        let days = last.since(*first).as_secs() > 2 * 86_400;
        let label = |at: Timestamp| {
            let iso = at.to_iso();
            iso.get(if days { 5..10 } else { 11..16 }).unwrap_or_default().to_owned()
        };
        let last = self.steps.len() - 1;
        let at = (0..TIME_LABELS).map(|number| number * last / (TIME_LABELS - 1));
        at.filter_map(|at| self.steps.get(at)).map(|at| label(*at)).collect()
    }
}

/// `2027-01-15 08:00`.
fn minute(at: Timestamp) -> String {
    let iso = at.to_iso();
    iso.get(..16).unwrap_or_default().replace('T', " ")
}

/// The first of 1, 2, 5, 10, 20, 50, … that is not below the peak.
fn round_above(peak: f64) -> f64 {
    let mut unit = 1.0;
    while unit * 10.0 <= peak {
        unit *= 10.0;
    }
    let fits = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
    fits.into_iter().find(|top| *top >= peak).unwrap_or(peak)
}

fn x_of(step: usize, steps: usize) -> f64 {
    let last = steps.saturating_sub(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "steps are few")]
    let share = step as f64 / last as f64;
    WIDTH * share
}

fn y_of(value: f64, top: f64) -> f64 {
    let height = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
    HEIGHT * (1.0 - height)
}

/// The runs of consecutive values, each with its first step.
fn runs(values: &[Option<f64>]) -> Vec<(usize, Vec<f64>)> {
    let mut found: Vec<(usize, Vec<f64>)> = Vec::new();
    for (step, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        match found.last_mut() {
            Some((first, run)) if *first + run.len() == step => run.push(*value),
            Some(_) | None => found.push((step, vec![*value])),
        }
    }
    found
}

/// A line through the values, broken where there is none.
fn line(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for (first, run) in runs(values).into_iter().filter(|(_, them)| them.len() > 1) {
        for (at, value) in run.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            let (x, y) = (x_of(first + at, values.len()), y_of(*value, top));
            // Writing to a String does not fail.
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
    }
    path
}

fn dots(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for (at, run) in runs(values) {
        if let [value] = run[..] {
            let _ = write!(path, "M{:.1} {:.1}h0.1", x_of(at, values.len()), y_of(value, top));
        }
    }
    path
}

fn area(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for (first, run) in runs(values) {
        let last = first + run.len() - 1;
        let _ = write!(path, "M{:.1} {HEIGHT:.1}", x_of(first, values.len()));
        for (at, value) in run.iter().enumerate() {
            let _ = write!(path, "L{:.1} {:.1}", x_of(first + at, values.len()), y_of(*value, top));
        }
        let _ = write!(path, "L{:.1} {HEIGHT:.1}Z", x_of(last, values.len()));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f64>], filled: bool) -> Chart {
        let hour = std::time::Duration::from_secs(3_600);
        let steps: Vec<_> = (0..u32::try_from(values.len()).unwrap())
            .map(|step| Timestamp::from_micros(1_800_000_000_000_000) + hour * step)
            .collect();
        let series = SeriesData {
            name: "a",
            tone: "tone-good",
            total: String::new(),
            values: values.to_vec(),
            filled,
        };
        ChartData {
            title: "t",
            steps: &steps,
            series: vec![series],
            label: |value| format!("{value:.0}"),
            top: None,
        }
        .draw()
    }

    #[test]
    fn a_line_is_broken_where_there_is_no_data() {
        let chart = drawn(&[Some(1.0), None, Some(2.0), Some(0.0)], false);
        assert_eq!(chart.series[0].line, "M400.0 0.0L600.0 120.0");
        assert_eq!(chart.series[0].dots, "M0.0 60.0h0.1", "an isolated value is visible");
        assert_eq!(chart.rows[1].values, ["–"]);
        assert_eq!((chart.rows[1].x.as_str(), chart.rows[1].width.as_str()), ("100.0", "200.0"));
        assert_eq!(drawn(&[None, None], true).series[0].line, "");
    }

    #[test]
    fn the_area_under_a_line_ends_with_the_line() {
        let chart = drawn(&[Some(5.0), Some(10.0), None], true);
        assert_eq!(chart.series[0].area, "M0.0 120.0L0.0 60.0L300.0 0.0L300.0 120.0Z");
        assert_eq!(chart.top, "10");
    }

    #[test]
    fn time_labels_follow_the_length_of_the_range() {
        assert_eq!(
            drawn(&[Some(1.0); 5], false).time_labels,
            ["08:00", "09:00", "10:00", "11:00", "12:00"]
        );
        let days = drawn(&[Some(1.0); 97], false).time_labels;
        assert_eq!(days, ["01-15", "01-16", "01-17", "01-18", "01-19"]);
        assert_eq!(drawn(&[], false).time_labels, Vec::<String>::new());
    }

    #[test]
    fn the_top_is_a_round_number_above_the_peak() {
        let tops = [0.0, 1.0, 3.0, 7.0, 10.0, 11.0, 4_200.0].map(round_above);
        assert_eq!(tops, [1.0, 1.0, 5.0, 10.0, 10.0, 20.0, 5_000.0]);
    }
}
