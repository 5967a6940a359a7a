//! Times and spans as pages show them: how long ago or how far ahead, with the exact time beside it.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;

use crate::domain::clock::Timestamp;

const UNITS: [(&str, u64); 4] = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// A time seen from now. Prints as an element that says how far away it is and keeps the exact time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
}

impl Moment {
    /// `12 min ago`, `in 3 h`, `now`.
    pub(super) fn relative(self) -> String {
        let (ahead, behind) = (self.at.since(self.now), self.now.since(self.at));
        let size = ahead.max(behind).as_secs();
        let Some((unit, length)) = UNITS.into_iter().find(|(_, length)| size >= *length) else {
            return "now".to_owned();
        };
        let number = size / length;
        let plural = if unit == "day" && number > 1 { "s" } else { "" };
        if ahead > behind {
            format!("in {number} {unit}{plural}")
        } else {
            format!("{number} {unit}{plural} ago")
        }
    }

    /// The time to the second, UTC.
    pub(super) fn exact(self) -> String {
        let iso = self.at.to_iso();
        match iso.split_once('.') {
            Some((seconds, _)) => format!("{} UTC", seconds.replace('T', " ")),
            None => iso,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (iso, exact, relative) = (self.at.to_iso(), self.exact(), self.relative());
        write!(out, r#"<time datetime="{iso}" title="{exact}" data-relative>{relative}</time>"#)
    }
}

// Digits and words of ours only.
impl HtmlSafe for Moment {}

/// A time that is shown exactly, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact(pub(super) Timestamp);

impl fmt::Display for Exact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = Moment { at: self.0, now: self.0 };
        write!(out, r#"<time datetime="{}">{}</time>"#, self.0.to_iso(), moment.exact())
    }
}

impl HtmlSafe for Exact {}

/// A time of which the day is known: to the millisecond, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfDay(pub(super) Timestamp);

impl fmt::Display for OfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.0.to_iso();
        let time = iso.split_once('T').map_or(iso.as_str(), |(_, time)| time);
        let time = time.trim_end_matches('Z');
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        write!(out, r#"<time datetime="{iso}" title="{iso}">{seconds}.{fraction:0<3.3}</time>"#)
    }
}

impl HtmlSafe for OfDay {}

/// A span in two digits or three: `840 µs`, `12 ms`, `1.4 s`, `3 min 20 s`, `2 h 5 min`, `3 days`.
pub(super) fn span(span: Duration) -> String {
    let (micros, seconds) = (span.as_micros(), span.as_secs());
    if micros < 1_000 {
        format!("{micros} µs")
    } else if seconds < 1 {
        format!("{} ms", span.as_millis())
    } else if seconds < 60 {
        let text = format!("{:.1} s", span.as_secs_f64());
        text.replace(".0 s", " s")
    } else if seconds < 3_600 {
        pair(seconds / 60, "min", seconds % 60, "s")
    } else if seconds < 2 * 86_400 {
        pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min")
    } else {
        pair(seconds / 86_400, "days", seconds % 86_400 / 3_600, "h")
    }
}

fn pair(large: u64, unit: &str, small: u64, smaller: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let told = |seconds: i64| Moment { at: now.shifted(seconds * 1_000_000), now }.relative();
        assert_eq!(told(0), "now");
        assert_eq!(told(-59), "59 s ago");
        assert_eq!(told(3_700), "in 1 h");
        assert_eq!(told(-86_400), "1 day ago");
        assert_eq!(told(3 * 86_400), "in 3 days");
    }

    #[test]
    fn a_time_of_the_day_has_its_milliseconds() {
        let told = |micros| OfDay(Timestamp::from_micros(micros)).to_string();
        assert!(told(1_800_000_000_007_000).ends_with(">08:00:00.007</time>"));
        assert!(told(1_800_000_000_000_000).ends_with(">08:00:00.000</time>"));
    }

    #[test]
    fn spans_are_short() {
        let told = |micros| span(Duration::from_micros(micros));
        assert_eq!(told(840), "840 µs");
        assert_eq!(told(12_400), "12 ms");
        assert_eq!(told(1_440_000), "1.4 s");
        assert_eq!(told(2_000_000), "2 s");
        assert_eq!(told(200_000_000), "3 min 20 s");
        assert_eq!(told(7_500_000_000), "2 h 5 min");
        assert_eq!(told(4 * 86_400_000_000), "4 days");
    }
}
