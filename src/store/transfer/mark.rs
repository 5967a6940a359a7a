//! Marks of a move in its two databases. A marked database is not served, unless it is the target of a move that is
//! done.

use crate::domain::clock::Timestamp;

/// Which way a database's rows went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Direction {
    /// Out of it: it is the source.
    Out,
    /// Into it: it is the target.
    In,
}

impl Direction {
    /// As it is stored.
    pub(in crate::store) const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// The tables of marks and of progress, which only databases that took part in a move have.
pub(in crate::store) const CREATE: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS moves (direction TEXT PRIMARY KEY, id TEXT NOT NULL,
        other TEXT NOT NULL, done BIGINT NOT NULL, at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS move_progress (name TEXT PRIMARY KEY, cursor TEXT NOT NULL,
        copied BIGINT NOT NULL, done BIGINT NOT NULL)",
];

/// A move, as one of its databases records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    /// The move; the same in both databases.
    pub(in crate::store) id: String,
    /// The other database.
    pub(in crate::store) other: String,
    /// Whether all rows are copied and compared.
    pub(in crate::store) done: bool,
    /// When the mark was written.
    pub(in crate::store) at: Timestamp,
}

/// Why a database is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MovedError {
    /// Its rows are in another database.
    #[error(
        "{database} was moved to {other} at {at}: start the service on that one, or make this one usable again \
         with `postrider move --undo --from {database}`"
    )]
    Moved {
        /// The database.
        database: String,
        /// Where it went.
        other: String,
        /// When.
        at: String,
    },
    /// Its rows are being copied.
    #[error(
        "a move from {database} to {other} has begun: end it with `postrider move --from {database} --to \
         {other}`, or give it up with `postrider move --undo --from {database}`"
    )]
    Leaving {
        /// The database.
        database: String,
        /// Where it goes.
        other: String,
    },
    /// It is the target of a move that is not done.
    #[error(
        "a move from {other} to {database} is not done: end it with `postrider move --from {other} --to {database}`"
    )]
    Arriving {
        /// The database.
        database: String,
        /// Where its rows come from.
        other: String,
    },
}

impl MovedError {
    /// Whether the marks of a database forbid to serve it.
    pub(in crate::store) fn check(
        database: &str,
        out: Option<Mark>,
        into: Option<Mark>,
    ) -> Result<(), Self> {
        let database = database.to_owned();
        match (out, into) {
            (Some(Mark { other, done: true, at, .. }), _) => {
                Err(Self::Moved { database, other, at: at.to_iso() })
            }
            (Some(Mark { other, done: false, .. }), _) => Err(Self::Leaving { database, other }),
            (None, Some(Mark { other, done: false, .. })) => {
                Err(Self::Arriving { database, other })
            }
            (None, Some(Mark { done: true, .. }) | None) => Ok(()),
        }
    }
}
