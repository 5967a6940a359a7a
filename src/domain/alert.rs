//! Alerts: what an operator should know of without looking. Each is raised once and cleared once it has
//! been over for a while; what holds it up may be less than what raised it.

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A mapping's circuit is open.
    CircuitOpen,
    /// Most attempts at a destination fail.
    DestinationFailing,
    /// A destination's deliveries die at more than a rate.
    DeadLetters,
    /// Deliveries of a destination come near the end of their window.
    WindowClosing,
    /// The free space comes near the floor below which events are refused.
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

    /// The word in tables, events, logs and metrics.
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

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// How long it has to be over before it is cleared: longer than it takes to come again while
    /// nothing has changed. A delivery near its end is tried every quarter of an hour at least.
    #[must_use]
    pub const fn calm(self) -> Duration {
        Duration::from_secs(match self {
            Self::CircuitOpen | Self::DiskLow => 60,
            Self::DestinationFailing | Self::DeadLetters => 5 * 60,
            Self::WindowClosing => 20 * 60,
        })
    }
}

/// An alert that was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// Of what: `source/destination/mapping`, `source/destination`, or the node's name.
    pub subject: String,
    /// What was found when it was raised, with numbers.
    pub detail: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// When it was cleared; none while it stands.
    pub cleared_at: Option<Timestamp>,
    /// Whether the newest of both has been told.
    pub told: bool,
}

/// What was found to hold just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: AlertKind,
    /// Of what.
    pub subject: String,
    /// What was found, with numbers.
    pub detail: String,
    /// Whether it is enough to raise an alert; else it only keeps one up.
    pub raises: bool,
}

/// What is told of an alert: a message like any other, which its destination's mappings can match.
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
    /// Whether it stands.
    #[must_use]
    pub const fn stands(&self) -> bool {
        self.cleared_at.is_none()
    }

    /// Whether it is about this destination, given as `source/destination`.
    #[must_use]
    pub fn is_about(&self, destination: &str) -> bool {
        let rest = self.subject.strip_prefix(destination);
        self.kind != AlertKind::DiskLow
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The `track` call that tells of it. Telling it twice is telling a duplicate: its `messageId`
    /// follows from what it says.
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
        // Nothing in it can fail to be written.
        serde_json::to_string(&message).unwrap_or_default()
    }
}
