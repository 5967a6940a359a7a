//! Alerts: conditions that an operator is notified about. An alert is raised once and cleared after its
//! condition has been absent for a while; the threshold to clear may be lower than the one to raise
//! (hysteresis).

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;

/// The kind of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A mapping's circuit is open.
    CircuitOpen,
    /// Most attempts at a destination fail.
    DestinationFailing,
    /// A destination's dead letters exceed a rate.
    DeadLetters,
    /// Deliveries of a destination near the end of their window.
    WindowClosing,
    /// Free disk space nears the floor below which intake refuses events.
    DiskLow,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::CircuitOpen,
        Self::DestinationFailing,
        Self::DeadLetters,
        Self::WindowClosing,
        Self::DiskLow,
    ];

    /// The name in tables, events, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::DestinationFailing => "destination_failing",
            Self::DeadLetters => "dead_letters",
            Self::WindowClosing => "window_closing",
            Self::DiskLow => "disk_low",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How long its condition must be absent before it is cleared: longer than the interval between two
    /// observations of an unchanged condition. The maximum backoff is 15 minutes.
    #[must_use]
    pub const fn calm(self) -> Duration {
        Duration::from_secs(match self {
            Self::CircuitOpen | Self::DiskLow => 60,
            Self::DestinationFailing | Self::DeadLetters => 5 * 60,
            Self::WindowClosing => 20 * 60,
        })
    }
}

/// A raised alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its kind.
    pub kind: AlertKind,
    /// Its subject: `source/destination/mapping`, `source/destination`, or the node's name.
    pub subject: String,
    /// What was observed when it was raised, with figures.
    pub detail: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When it was cleared; none while it is active.
    pub cleared_at: Option<Timestamp>,
    /// Whether the latest change, raised or cleared, was sent as an event.
    pub told: bool,
}

/// An observed condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its kind.
    pub kind: AlertKind,
    /// Its subject.
    pub subject: String,
    /// What was observed, with figures.
    pub detail: String,
    /// Whether it raises an alert; otherwise it only keeps one active.
    pub raises: bool,
}

/// The `track` message of an alert, which mappings can match like any other.
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
    /// Whether it is active.
    #[must_use]
    pub const fn stands(&self) -> bool {
        self.cleared_at.is_none()
    }

    /// Whether its subject is this destination (`source/destination`) or a mapping of it.
    #[must_use]
    pub fn is_about(&self, destination: &str) -> bool {
        let rest = self.subject.strip_prefix(destination);
        self.kind != AlertKind::DiskLow
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Its `track` message. The `messageId` is a digest of its content: sending it again is a duplicate.
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
        // Serializing strings cannot fail.
        serde_json::to_string(&message).unwrap_or_default()
    }
}
