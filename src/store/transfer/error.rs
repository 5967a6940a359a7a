//! Why a move does not begin or does not end.

use super::mark::MovedError;
use crate::store::{OpenError, StoreError};

/// Why a move failed. A move that has begun is continued by the same command.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the databases cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no source database.
    #[error("there is no database {0}")]
    Missing(String),
    /// Both addresses lead to one database.
    #[error("{0} is both the source and the target")]
    Same(String),
    /// A service runs on one of them, or it must be started once more.
    #[error("{database} cannot be moved now: {obstacle}")]
    Busy {
        /// The database.
        database: String,
        /// What stands in the way.
        obstacle: String,
    },
    /// The target has rows that this move did not write.
    #[error("the target {database} is not empty: {table} has rows")]
    NotEmpty {
        /// The database.
        database: String,
        /// A table with rows.
        table: &'static str,
    },
    /// A database is part of another move.
    #[error(transparent)]
    Marked(#[from] MovedError),
    /// `--undo` on a database that was not moved.
    #[error("{0} was not moved: there is nothing to undo")]
    NotMoved(String),
    /// The comparison found differences.
    #[error("source and target differ in {}", .0.join(", "))]
    Different(Vec<String>),
    /// A database failed a step.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MoveError {
    /// Whether the cause is what was given rather than a failure on the way.
    #[must_use]
    pub const fn is_of_input(&self) -> bool {
        match self {
            Self::Open(_)
            | Self::Missing(_)
            | Self::Same(_)
            | Self::Busy { .. }
            | Self::NotEmpty { .. }
            | Self::Marked(_)
            | Self::NotMoved(_) => true,
            Self::Different(_) | Self::Store(_) => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(error) => error.hint(),
            Self::Missing(_) => "check --from",
            Self::Same(_) => "give --to another database",
            Self::Busy { .. } => "stop the service on it, then run the same command again",
            Self::NotEmpty { .. } => "give --to a database that no service has run on",
            Self::Marked(_) => "one of the two databases may be served, never both",
            Self::NotMoved(_) => "check --from",
            Self::Different(_) => {
                "the target is not usable and the source is unchanged: run `postrider move --undo`, \
                 then move into another empty database"
            }
            Self::Store(_) => "run the same command again: it continues where it stopped",
        }
    }
}
