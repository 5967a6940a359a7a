//! The scenarios of a bench, by name.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A scenario of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// One event a request, one mapping, signed both ways
    Single,
    /// Events in requests of 100
    Batch,
    /// The same, with deliveries in batches of up to 1,000
    Batched,
    /// One event to ten mappings
    FanOut,
    /// An open loop at a steady rate: latency
    Steady,
    /// A database with millions of settled deliveries against an empty one, and its startup
    History,
    /// A destination that recovers while a backlog is due and intake continues
    Backlog,
    /// A backlog that is due, receivers that answer at once, then a kill: repeats, memory and restart
    Crash,
    /// A large pipeline applied at once while events are sent
    Apply,
    /// A redrive of many dead letters while events are sent
    Redrive,
    /// Isolation: destinations next to one that hangs and one that fails
    Neighbours,
    /// A calm source beside a loud one: its acknowledgement latency
    Fairness,
    /// A mapping with a trivial insert function against the same without
    Functions,
    /// Thousands of mappings of which each event matches one: CPU against few
    Mappings,
    /// Minutes of load: RSS, WAL and latency stay constant
    Soak,
    /// Clients that list without a pause: WAL and latency stay bounded
    Readers,
    /// A backlog that waits for its retries: CPU and reads at rest
    Rest,
    /// A steady rate with and without retention that removes as many events as are accepted
    Retention,
    /// A start with thousands of mappings and a backlog that is due
    Recovery,
    /// With --database: the same load by one, two and four nodes on one database
    Nodes,
    /// With --database: a snapshot held open for minutes
    Snapshot,
}

impl Scenario {
    /// Whether it is one of a PostgreSQL server, or else of a file.
    pub(super) const fn is_of(self, has_server: bool) -> bool {
        match self {
            Self::Nodes | Self::Snapshot => has_server,
            // They measure the WAL's file.
            Self::Soak | Self::Readers => !has_server,
            Self::Single
            | Self::Batch
            | Self::Batched
            | Self::FanOut
            | Self::Steady
            | Self::History
            | Self::Backlog
            | Self::Crash
            | Self::Apply
            | Self::Redrive
            | Self::Neighbours
            | Self::Fairness
            | Self::Functions
            | Self::Mappings
            | Self::Rest
            | Self::Retention
            | Self::Recovery => true,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| out.write_str(value.get_name()))
    }
}
