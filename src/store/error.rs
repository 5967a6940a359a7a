//! Errors of the store: each variant is a decision of the caller. What the engine's driver said is
//! kept as the source.

/// What an engine's driver reports; opaque outside the engine.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Why a step failed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or its free space is below the floor.
    #[error("the disk is full")]
    Full,
    /// The write queue is full: backpressure; retry later.
    #[error("the outbox has more queued than it takes")]
    Overloaded,
    /// The database failed the step.
    #[error("the database failed: {context}")]
    Database {
        /// The step.
        context: &'static str,
        /// The driver's error.
        #[source]
        source: EngineError,
    },
    /// The database cannot be reached: retry later.
    #[error("the database cannot be reached: {context}")]
    Unreachable {
        /// The step.
        context: &'static str,
        /// The driver's error.
        #[source]
        source: EngineError,
    },
    /// The store is shutting down or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// Optimistic locking failed: the pipeline changed since it was read.
    #[error("the pipeline has changed meanwhile")]
    Conflict,
    /// A row holds a value that no version of this program writes.
    #[error("the database holds {what}, which this program does not know")]
    Foreign {
        /// The value, and where it was.
        what: String,
    },
}
