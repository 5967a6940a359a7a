//! Numbers, shares, durations and path segments as text.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A count with thousands separators.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 delivery`, `2,000 deliveries`.
pub(super) fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), if number == 1 { singular } else { plural })
}

/// A count that may have stopped at its limit: `500,000+`.
pub(super) fn at_least(number: u64, more: bool) -> String {
    format!("{}{}", count(number), if more { "+" } else { "" })
}

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A path segment, percent-encoded.
pub(super) fn encoded(part: &str) -> String {
    utf8_percent_encode(part, RESERVED).to_string()
}

/// A share in permille as percent: `99.4 %`; a dash for none.
pub(super) fn percent(share: Option<u64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(1_000) => "100 %".to_owned(),
        Some(share) => format!("{}.{} %", share / 10, share % 10),
    }
}

/// A latency in microseconds; a dash for none.
pub(super) fn latency(us: Option<u64>) -> String {
    us.map_or_else(|| "–".to_owned(), |us| duration(Duration::from_micros(us)))
}

/// A duration in two or three digits: `840 µs`, `12 ms`, `1.4 s`, `3 min 20 s`, `2 h 5 min`, `3 days`.
pub(super) fn duration(duration: Duration) -> String {
    let (micros, seconds) = (duration.as_micros(), duration.as_secs());
    if micros < 1_000 {
        format!("{micros} µs")
    } else if seconds < 1 {
        format!("{} ms", duration.as_millis())
    } else if seconds < 60 {
        let text = format!("{:.1} s", duration.as_secs_f64());
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
    fn counts_have_thousands_separators() {
        assert_eq!([count(7), count(1_234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(counted(1, "delivery", "deliveries"), "1 delivery");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(encoded("dead-reasons_1.~"), "dead-reasons_1.~");
    }

    #[test]
    fn durations_have_two_or_three_digits() {
        let shown = |micros| duration(Duration::from_micros(micros));
        assert_eq!(shown(840), "840 µs");
        assert_eq!(shown(12_400), "12 ms");
        assert_eq!(shown(1_440_000), "1.4 s");
        assert_eq!(shown(2_000_000), "2 s");
        assert_eq!(shown(200_000_000), "3 min 20 s");
        assert_eq!(shown(7_500_000_000), "2 h 5 min");
        assert_eq!(shown(4 * 86_400_000_000), "4 days");
    }
}
