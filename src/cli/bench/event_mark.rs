//! The mark of a bench event: its number and send time in fixed width, so that the receiver finds it
//! without parsing JSON.

use crate::domain::clock::Timestamp;

const OPENING: &[u8] = b"\"mark\":\"";
const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;

/// An event's number and send time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Counts up from 0 over a run.
    pub(super) number: u32,
    /// When it was sent; at a fixed rate, when it was due.
    pub(super) sent_at: Timestamp,
}

impl Mark {
    /// Its JSON member: `"mark":"…"`.
    #[must_use]
    pub(super) fn member(self) -> String {
        format!("\"mark\":\"{:010}.{:016}\"", self.number, self.sent_at.as_micros())
    }

    /// The first mark in a body.
    #[must_use]
    pub(super) fn find(body: &[u8]) -> Option<Self> {
        let start = body.windows(OPENING.len()).position(|window| window == OPENING)?;
        Self::read(body.get(start + OPENING.len()..)?)
    }

    /// The marks of a body: the first one, or those of all events of a batch.
    #[must_use]
    pub(super) fn find_all(body: &[u8]) -> Vec<Self> {
        if !body.starts_with(b"[") {
            return Self::find(body).into_iter().collect();
        }
        let mut marks = Vec::new();
        let mut rest = body;
        while let Some(start) = rest.windows(OPENING.len()).position(|it| it == OPENING) {
            rest = rest.get(start + OPENING.len()..).unwrap_or_default();
            marks.extend(Self::read(rest));
        }
        marks
    }

    /// Reads what follows the opening.
    fn read(text: &[u8]) -> Option<Self> {
        let number = digits(text.get(..NUMBER_DIGITS)?)?;
        let time = digits(text.get(NUMBER_DIGITS + 1..NUMBER_DIGITS + 1 + TIME_DIGITS)?)?;
        Some(Self { number: u32::try_from(number).ok()?, sent_at: Timestamp::from_micros(time) })
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_again() {
        let mark =
            Mark { number: 4_200_000, sent_at: Timestamp::from_micros(1_790_000_000_000_001) };
        let body = format!("{{\"type\":\"track\",\"properties\":{{{},\"x\":1}}}}", mark.member());
        assert_eq!(Mark::find(body.as_bytes()), Some(mark));
        assert_eq!(Mark::find(b"{\"type\":\"track\"}"), None);
        assert_eq!(Mark::find(b"{\"mark\":\"12.34\"}"), None);
        assert_eq!(Mark::find(b"{\"mark\":\""), None);
        let other = Mark { number: 7, ..mark };
        let batch = format!("[{body},{{}},{{{}}}]", other.member());
        assert_eq!(Mark::find_all(batch.as_bytes()), [mark, other]);
        assert_eq!(Mark::find_all(body.as_bytes()), [mark]);
        assert_eq!(Mark::find_all(b"[]"), []);
    }
}
