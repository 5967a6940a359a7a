//! Alerts: conditions that an operator should act on. An alert is raised once, and cleared once its condition
//! has not held for a calm period; the threshold that keeps it active is lower than the one that raises it.

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;

/// The kind of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A mapping's circuit is open.
    CircuitOpen,
    /// The failure rate of a destination is high.
    DestinationFailing,
    /// A destination has more dead letters per hour than the threshold.
    DeadLetters,
    /// Deliveries of a destination are near their deadline.
    WindowClosing,
    /// A source sends more than its rate or its daily quota.
    SourceLimited,
    /// Free disk space is near the floor below which events are refused.
    DiskLow,
    /// A mapping is paused, as its receiver answered 410.
    ReceiverGone,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::CircuitOpen,
        Self::DestinationFailing,
        Self::DeadLetters,
        Self::WindowClosing,
        Self::SourceLimited,
        Self::DiskLow,
        Self::ReceiverGone,
    ];

    /// Its name in tables, events, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::DestinationFailing => "destination_failing",
            Self::DeadLetters => "dead_letters",
            Self::WindowClosing => "window_closing",
            Self::SourceLimited => "source_limited",
            Self::DiskLow => "disk_low",
            Self::ReceiverGone => "receiver_gone",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How long the condition must not hold before the alert is cleared: longer than the interval at which
    /// an unchanged condition is observed again. A delivery near its deadline is retried at least every 15
    /// minutes.
    #[must_use]
    pub const fn calm(self) -> Duration {
        Duration::from_secs(match self {
            Self::CircuitOpen | Self::DiskLow | Self::ReceiverGone => 60,
            Self::DestinationFailing | Self::DeadLetters | Self::SourceLimited => 5 * 60,
            Self::WindowClosing => 20 * 60,
        })
    }
}

/// A raised alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its kind.
    pub kind: AlertKind,
    /// Its subject: `source/destination/mapping`, `source/destination`, a source's or the node's name.
    pub subject: String,
    /// The measured values when it was raised.
    pub detail: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When it was cleared; none while it is active.
    pub cleared_at: Option<Timestamp>,
    /// Whether its last change, raised or cleared, has been published.
    pub published: bool,
}

/// A condition that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its kind.
    pub kind: AlertKind,
    /// Its subject.
    pub subject: String,
    /// The measured values.
    pub detail: String,
    /// Whether it raises an alert; otherwise it only keeps one active.
    pub raises: bool,
}

/// An alert's `track` message, which the destination's mappings can match.
#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    event: &'static str,
    #[serde(rename = "userId")]
    user_id: &'static str,
    #[serde(rename = "messageId")]
    message_id: String,
    timestamp: String,
    properties: Properties<'a>,
}

#[derive(Debug, Serialize)]
struct Properties<'a> {
    alert: &'static str,
    subject: &'a str,
    detail: &'a str,
    raised_at: String,
    cleared_at: Option<String>,
    node: &'a str,
}

impl Alert {
    /// Whether it is active: raised and not cleared.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.cleared_at.is_none()
    }

    /// Whether it is about this destination, given as `source/destination`.
    #[must_use]
    pub fn is_about(&self, destination: &str) -> bool {
        let rest = self.subject.strip_prefix(destination);
        self.kind != AlertKind::DiskLow
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Its `track` message. The `messageId` is a hash of the content: a repeated publication is a
    /// duplicate.
    #[must_use]
    pub fn message(&self, node: &str) -> String {
        let (event, at) = match self.cleared_at {
            None => ("Alert Raised", self.raised_at),
            Some(at) => ("Alert Cleared", at),
        };
        let seed = [self.kind.as_str(), &self.subject, event].join("\n");
        let digest =
            crate::domain::digest::sha256(&[seed.as_bytes(), &at.as_micros().to_be_bytes()]);
        let message = Message {
            kind: "track",
            event,
            user_id: "postrider",
            message_id: format!("alert_{}", hex::encode(&digest[..16])),
            timestamp: at.to_iso(),
            properties: Properties {
                alert: self.kind.as_str(),
                subject: &self.subject,
                detail: &self.detail,
                raised_at: self.raised_at.to_iso(),
                cleared_at: self.cleared_at.map(Timestamp::to_iso),
                node,
            },
        };
        // Strings and numbers always serialize.
        serde_json::to_string(&message).unwrap_or_default()
    }
}
