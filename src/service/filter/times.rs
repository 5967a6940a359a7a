//! Times that are given as how long ago.

use std::borrow::Cow;

use crate::domain::clock::Timestamp;
use crate::domain::duration_text::parse_duration;
use crate::service::Condition;

/// Conditions in which `since` and `until` are times: `2h` is two hours before now.
pub(in crate::service) fn absolute(conditions: &[Condition], now: Timestamp) -> Vec<Condition> {
    let absolute = |(name, value): &Condition| {
        let is_time = matches!(name.as_str(), "since" | "until");
        let value = if is_time { absolute_time(value, now) } else { Cow::Borrowed(value.as_str()) };
        (name.clone(), value.into_owned())
    };
    conditions.iter().map(absolute).collect()
}

/// A time, if the value is how long ago; otherwise the value.
#[must_use]
pub fn absolute_time(value: &str, now: Timestamp) -> Cow<'_, str> {
    match parse_duration(value.trim()) {
        Some(ago) => Cow::Owned((now - ago).to_iso()),
        None => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_how_long_ago() {
        let now = Timestamp::parse_iso("2026-03-08T12:00:00Z").expect("a time");
        let given = [("since", "7d"), ("until", "90m"), ("name", "2h"), ("since", "yesterday")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values: Vec<_> = absolute(&given, now).into_iter().map(|(_, value)| value).collect();
        let iso = |text: &str| Timestamp::parse_iso(text).expect("a time").to_iso();
        assert_eq!(
            values,
            [&iso("2026-03-01T12:00:00Z"), &iso("2026-03-08T10:30:00Z"), "2h", "yesterday"]
        );
    }
}
