//! Values of a move as columns of SQLite's tables, and back.

use crate::store::transfer::{Column, Kind, Value};

/// Keys of PostgreSQL are times: (ms since 2025) << 22. Keys that follow from the last of them stay within its day.
const DAY_KEYS: i64 = (24 * 3_600 * 1_000) << 22;
/// More than this database can give before its next move: a second of keys is a day at 48,000 a second.
const ROOM: i64 = 1 << 32;

/// The first key after a move: `next`, or the first of the next day where few are left in the day of `next`, so that
/// the keys of an event and of its deliveries are of one day if the database is moved to PostgreSQL.
pub(super) const fn first_key(next: i64) -> i64 {
    let end = (next / DAY_KEYS + 1) * DAY_KEYS;
    if end - next < ROOM { end } else { next }
}

/// Lists of keys are read as `first:count:others`.
pub(super) fn from_columns(column: &Column, value: Value, without_nul: bool) -> Value {
    match (column.kind, value) {
        (Kind::Keys, Value::Text(text)) => Value::Keys(keys(&text)),
        (_, Value::Text(text)) if without_nul && text.contains('\0') => {
            Value::Text(text.replace('\0', "\u{FFFD}"))
        }
        (Kind::Keys | Kind::Int | Kind::Flag | Kind::Text | Kind::Bytes | Kind::Digest, value) => {
            value
        }
    }
}

fn keys(text: &str) -> Vec<i64> {
    let mut parts = text.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let (first, count): (i64, i64) = (number(), number());
    let others = parts.next().unwrap_or_default().split(',').filter_map(|key| key.parse().ok());
    let mut keys: Vec<i64> = (first..first.saturating_add(count)).chain(others).collect();
    keys.sort_unstable();
    keys
}

/// The keys of an event's deliveries: the longest range of consecutive ones from the first, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// None without deliveries.
    pub(super) first: Option<i64>,
    pub(super) count: i64,
    pub(super) rest: Vec<i64>,
}

impl Split {
    pub(super) fn of(value: &Value) -> Self {
        let keys: &[i64] = if let Value::Keys(keys) = value { keys } else { &[] };
        let Some(first) = keys.first().copied() else {
            return Self { first: None, count: 0, rest: Vec::new() };
        };
        let range = keys.iter().zip(first..).take_while(|(key, wanted)| *key == wanted).count();
        let rest = keys.get(range..).unwrap_or_default().to_vec();
        Self { first: Some(first), count: crate::store::row::int(range as u64), rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_deliveries_are_a_range_and_the_rest() {
        for (text, expected) in [
            ("7:3:", vec![7, 8, 9]),
            ("7:2:4,20", vec![4, 7, 8, 20]),
            ("12:0:", vec![]),
            ("0:0:5,3", vec![3, 5]),
        ] {
            assert_eq!(keys(text), expected, "{text}");
        }
        let split = |keys: &[i64]| Split::of(&Value::Keys(keys.to_vec()));
        assert_eq!(split(&[]), Split { first: None, count: 0, rest: vec![] });
        assert_eq!(split(&[7, 8, 9]), Split { first: Some(7), count: 3, rest: vec![] });
        assert_eq!(split(&[4, 7, 8]), Split { first: Some(4), count: 1, rest: vec![7, 8] });
    }

    #[test]
    fn keys_after_a_move_stay_within_a_day() {
        assert_eq!(first_key(1_000_001), 1_000_001);
        let end = 700 * DAY_KEYS;
        assert_eq!(first_key(end - ROOM), end - ROOM);
        assert_eq!(first_key(end - ROOM + 1), end);
    }
}
