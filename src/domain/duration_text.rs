//! Durations as text: a whole number and a unit, such as `90m` or `30d`.

use std::time::Duration;

/// The units, the largest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parses a whole number and a unit: `s`, `m`, `h` or `d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let digits = text.strip_suffix(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// The text of a duration, in the largest unit that divides it; fractions of a second are left out.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let fits = |(_, size): &(char, u64)| seconds > 0 && seconds.is_multiple_of(*size);
    let (unit, size) = UNITS.into_iter().find(fits).unwrap_or(('s', 1));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_their_unit_and_printed_in_the_largest() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("90m", 5_400), ("7d", 604_800)] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse_duration(text), Some(duration));
            assert_eq!(duration_text(duration), text);
        }
        assert_eq!(duration_text(Duration::from_secs(86_400)), "1d");
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        for wrong in ["", "h", "2", "2w", "-1h", "+1h", "1.5h", "2ö", "1 h", "9999999999999999999d"]
        {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
