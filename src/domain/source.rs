//! Sources: where events come from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::SourceId;
use crate::domain::clock::Timestamp;

/// The largest rate of a source, in events a second, and the largest burst.
const MAX_RATE: u32 = 1_000_000;
const MAX_BURST: u32 = 10_000_000;
/// The largest daily quota.
const MAX_QUOTA: u64 = 1_000_000_000_000;

/// A source; its write keys authenticate senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The key.
    pub id: SourceId,
    /// The identity: unique.
    pub name: String,
    /// A disabled source rejects events.
    pub enabled: bool,
    /// What it may send.
    pub limits: SourceLimits,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a source may send (none: as much as the service takes), and what intake adds to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceLimits {
    /// Events a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Events at once; none: those of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Events a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_quota: Option<u64>,
    /// Whether `context.ip` is the sender's address where an event has none: for senders in browsers and phones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_ip: bool,
}

impl SourceLimits {
    /// Whether there is no limit.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.rate_per_second.is_none() && self.daily_quota.is_none()
    }

    /// Events a second, and at once.
    #[must_use]
    pub fn rate(&self) -> Option<(u32, u32)> {
        self.rate_per_second.map(|rate| (rate, self.burst.unwrap_or(rate)))
    }

    /// Each invalid field with what it should be.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let should_be = |most: u64| format!("should be between 1 and {most}");
        if self.rate_per_second.is_some_and(|rate| !(1..=MAX_RATE).contains(&rate)) {
            faults.push(("rate_per_second", should_be(MAX_RATE.into())));
        }
        if self.burst.is_some_and(|burst| !(1..=MAX_BURST).contains(&burst)) {
            faults.push(("burst", should_be(MAX_BURST.into())));
        } else if self.burst.is_some() && self.rate_per_second.is_none() {
            faults.push(("burst", "needs a rate_per_second".to_owned()));
        }
        if self.daily_quota.is_some_and(|quota| !(1..=MAX_QUOTA).contains(&quota)) {
            faults.push(("daily_quota", should_be(MAX_QUOTA)));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_out_of_range_name_their_field() {
        let limits = |rate_per_second, burst, daily_quota| SourceLimits {
            rate_per_second,
            burst,
            daily_quota,
            client_ip: false,
        };
        let cases = [
            (limits(None, None, None), None),
            (limits(Some(1), None, Some(1)), None),
            (limits(Some(MAX_RATE), Some(MAX_BURST), Some(MAX_QUOTA)), None),
            (limits(Some(0), None, None), Some("rate_per_second")),
            (limits(Some(MAX_RATE + 1), None, None), Some("rate_per_second")),
            (limits(Some(1), Some(0), None), Some("burst")),
            (limits(None, Some(1), None), Some("burst")),
            (limits(None, None, Some(0)), Some("daily_quota")),
            (limits(None, None, Some(MAX_QUOTA + 1)), Some("daily_quota")),
        ];
        for (limits, expected) in cases {
            let fields: Vec<_> = limits.check().iter().map(|(field, _)| *field).collect();
            assert_eq!(fields, Vec::from_iter(expected), "{limits:?}");
        }
        assert_eq!(limits(Some(5), None, None).rate(), Some((5, 5)));
    }
}
