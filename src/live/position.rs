//! Where a reader of a feed is: the id of a server-sent event, which a browser sends back as `Last-Event-ID`.

use std::fmt;

/// The place of an item in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The feed, anew for each process.
    pub epoch: u64,
    /// Counts the pauses of its recording, in which items have no numbers.
    pub recording: u64,
    /// The item's number, from 1.
    pub number: u64,
}

impl Position {
    /// Parses an id.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.trim().split('-');
        let (epoch, recording, number) = (parts.next()?, parts.next()?, parts.next()?);
        let is_plain = |part: &str| !part.starts_with('+');
        if parts.next().is_some() || ![epoch, recording, number].into_iter().all(is_plain) {
            return None;
        }
        Some(Self {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            recording: recording.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, recording, number } = self;
        write!(out, "{epoch:016x}-{recording}-{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is() {
        let position = Position { epoch: 0xab_cdef, recording: 3, number: u64::MAX };
        assert_eq!(position.to_string(), "0000000000abcdef-3-18446744073709551615");
        assert_eq!(Position::parse(&position.to_string()), Some(position));
        for other in ["", "7", "a-1", "a-1-2-3", "g-1-2", "a-+1-2", "a-1--2", "evt_0123", "é-1-2"]
        {
            assert_eq!(Position::parse(other), None, "{other}");
        }
    }
}
