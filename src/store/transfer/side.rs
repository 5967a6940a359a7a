//! What a move needs of a database, whichever engine it is of.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::mark::{Direction, Mark};
use super::tables::Table;
use super::value::{Row, Value};
use crate::store::StoreError;

/// How far a table is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Progress {
    /// The key of the last row that is copied; empty at the beginning.
    pub(in crate::store) cursor: Vec<Value>,
    pub(in crate::store) copied: u64,
    pub(in crate::store) done: bool,
}

/// One of the two databases of a move. It is this process's alone: no service runs on it.
#[async_trait]
pub(in crate::store) trait Side: Send {
    /// The mark of a move.
    async fn mark(&mut self, direction: Direction) -> Result<Option<Mark>, StoreError>;

    /// Writes or removes a mark.
    async fn set_mark(
        &mut self,
        direction: Direction,
        mark: Option<&Mark>,
    ) -> Result<(), StoreError>;

    /// Why its rows may change, or are not all in its tables.
    async fn obstacle(&mut self) -> Result<Option<String>, StoreError>;

    /// How many rows of a table there are.
    async fn count(&mut self, table: &Table) -> Result<u64, StoreError>;

    /// The rows behind a key, in the order of keys; all of them for a table without a key.
    async fn read(
        &mut self,
        table: &Table,
        after: &[Value],
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// How far each table is copied into this database.
    async fn progress(&mut self) -> Result<BTreeMap<String, Progress>, StoreError>;

    /// Begins a transaction.
    async fn begin(&mut self) -> Result<(), StoreError>;

    /// Writes rows, and how far the table is copied with them.
    async fn write(
        &mut self,
        table: &Table,
        rows: Vec<Row>,
        progress: &Progress,
    ) -> Result<(), StoreError>;

    /// Commits the transaction, durably.
    async fn commit(&mut self) -> Result<(), StoreError>;

    /// Sets what is derived from the copied rows: the next keys, and when de-duplication keys expire.
    async fn finish(&mut self) -> Result<(), StoreError>;
}

impl Progress {
    /// The cursor, from its stored text.
    pub(in crate::store) fn read_cursor(text: &str) -> Vec<Value> {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The cursor as it is stored.
    pub(in crate::store) fn written_cursor(&self) -> String {
        serde_json::to_string(&self.cursor).unwrap_or_default()
    }
}
