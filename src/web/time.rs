//! Times in pages: relative to the time of rendering, exact, or as time of day. All UTC.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::domain::clock::Timestamp;

const UNITS: [(&str, u64); 4] = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// A time relative to now; displays as a `<time>` element with the exact time as its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelativeTime {
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
}

impl RelativeTime {
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

impl fmt::Display for RelativeTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (iso, exact, relative) = (self.at.to_iso(), self.exact(), self.relative());
        write!(out, r#"<time datetime="{iso}" title="{exact}" data-relative>{relative}</time>"#)
    }
}

// No untrusted text.
impl HtmlSafe for RelativeTime {}

/// A time shown to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExactTime(pub(super) Timestamp);

impl fmt::Display for ExactTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = RelativeTime { at: self.0, now: self.0 };
        write!(out, r#"<time datetime="{}">{}</time>"#, self.0.to_iso(), moment.exact())
    }
}

impl HtmlSafe for ExactTime {}

/// A time of day, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOfDay(pub(super) Timestamp);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.0.to_iso();
        let time = iso.split_once('T').map_or(iso.as_str(), |(_, time)| time);
        let time = time.trim_end_matches('Z');
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        write!(out, r#"<time datetime="{iso}" title="{iso}">{seconds}.{fraction:0<3.3}</time>"#)
    }
}

impl HtmlSafe for TimeOfDay {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let shown =
            |seconds: i64| RelativeTime { at: now.shifted(seconds * 1_000_000), now }.relative();
        assert_eq!(shown(0), "now");
        assert_eq!(shown(-59), "59 s ago");
        assert_eq!(shown(3_700), "in 1 h");
        assert_eq!(shown(-86_400), "1 day ago");
        assert_eq!(shown(3 * 86_400), "in 3 days");
    }

    #[test]
    fn a_time_of_day_has_milliseconds() {
        let shown = |micros| TimeOfDay(Timestamp::from_micros(micros)).to_string();
        assert!(shown(1_800_000_000_007_000).ends_with(">08:00:00.007</time>"));
        assert!(shown(1_800_000_000_000_000).ends_with(">08:00:00.000</time>"));
    }
}
