//! Write steps and the transaction they run in: the writer's interface for every file that writes.

use rusqlite::ToSql;

use super::super::dedup::bloom::Filters;
use super::super::dedup::memtable::Memtable;
use super::super::statistics_log::StatisticsLog;
use super::connection::{Connection, Statement};
use super::state::WriterState;
use crate::domain::clock::Clock;
use crate::store::failure::Failure;

/// A step that runs within the writer's transaction, in a savepoint of its own.
pub(crate) trait Step: Send + 'static {
    /// Its result.
    type Answer: Send + 'static;
    /// What it does, for errors: "claim due deliveries".
    const CONTEXT: &'static str;
    /// How many rows it may change, where that is many: such a bulk step is throttled as claims and records are.
    /// Zero for any other step.
    fn bulk_rows(&self) -> usize {
        0
    }
    /// Runs it. It runs again when its transaction was rolled back because of another step.
    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Failure>;
}

/// The running transaction.
pub(crate) struct Tx<'a> {
    pub(crate) sqlite: &'a Connection,
    pub(crate) state: &'a mut WriterState,
    pub(crate) memtable: &'a mut Memtable,
    pub(crate) filters: &'a mut Filters,
    pub(crate) statistics: &'a mut StatisticsLog,
    pub(crate) clock: &'a dyn Clock,
}

impl<'a> Tx<'a> {
    /// Prepares a statement, or takes it from the cache.
    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<Statement<'a>> {
        self.sqlite.prepare(sql)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<u64> {
        self.sqlite.execute(sql, values)
    }
}
