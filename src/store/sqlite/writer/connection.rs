//! The writer's connection. A statement is prepared once, stays in the cache and is run row by row, its
//! values bound in place.

use rusqlite::{CachedStatement, Row, ToSql};

use super::super::open::{self, OpenOptions};

/// Prepared statements that are cached.
const STATEMENTS: usize = 128;

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Connection(rusqlite::Connection);

impl Connection {
    /// Opens it.
    pub(crate) fn open(options: &OpenOptions) -> rusqlite::Result<Self> {
        let sqlite = open::connect_writer(options)?;
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self(sqlite))
    }

    /// Prepares a statement, or takes it from the cache.
    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<Statement<'_>> {
        self.0.prepare_cached(sql).map(Statement)
    }

    /// Runs a statement once; returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<u64> {
        self.prepare(sql)?.execute(values)
    }

    /// Inserts a row; returns its key.
    pub(crate) fn insert(&self, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<i64> {
        self.execute(sql, values)?;
        Ok(self.0.last_insert_rowid())
    }

    /// The row of a query that gives one.
    pub(crate) fn one<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.first(sql, values, read)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
    }

    /// The first row of a query, if it gives any.
    pub(crate) fn first<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        rows.next()?.map(read).transpose()
    }

    /// All rows of a query.
    pub(crate) fn all<T, E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        self.prepare(sql)?.all(values, read)
    }

    /// Runs a pragma to its end, whatever rows it gives: some do a part of their work for each row.
    pub(crate) fn pragma(&self, sql: &str) -> rusqlite::Result<()> {
        self.all(sql, &[], |_| Ok::<(), rusqlite::Error>(())).map(|_| ())
    }

    /// How long it waits for a lock of another connection.
    pub(crate) fn set_busy_timeout(&self, timeout: std::time::Duration) -> rusqlite::Result<()> {
        self.0.busy_timeout(timeout)
    }

    /// Leaves it open for as long as the process lives.
    pub(crate) fn leak(self) {
        let _kept_open = Box::leak(Box::new(self.0));
    }

    /// Closes it.
    pub(crate) fn close(self) -> rusqlite::Result<()> {
        self.0.close().map_err(|(_connection, error)| error)
    }
}

/// A prepared statement.
pub(crate) struct Statement<'a>(CachedStatement<'a>);

impl Statement<'_> {
    /// Runs it; returns how many rows it changed.
    pub(crate) fn execute(&mut self, values: &[&dyn ToSql]) -> rusqlite::Result<u64> {
        self.0.execute(values).map(|rows| u64::try_from(rows).unwrap_or(u64::MAX))
    }

    /// Whether it gives any row.
    pub(crate) fn exists(&mut self, values: &[&dyn ToSql]) -> rusqlite::Result<bool> {
        self.0.exists(values)
    }

    /// All rows it gives.
    pub(crate) fn all<T, E: From<rusqlite::Error>>(
        &mut self,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        self.until(values, read, |_| false)
    }

    /// The rows up to and including the first for which `is_last` holds; later rows are not read.
    pub(crate) fn until<T, E: From<rusqlite::Error>>(
        &mut self,
        values: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> Result<T, E>,
        mut is_last: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, E> {
        let mut found = Vec::new();
        let mut rows = self.0.query(values)?;
        while let Some(row) = rows.next()? {
            let row = read(row)?;
            let ends = is_last(&row);
            found.push(row);
            if ends {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::params;

    use super::super::super::error::Reach;
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::store::failure::SqlError;
    use crate::telemetry::metrics::Metrics;

    fn open(folder: &tempfile::TempDir, max_pages: Option<u32>) -> Connection {
        let path = folder.path().join("one.db");
        std::fs::File::create(&path).expect("a file");
        let clock = Arc::new(SystemClock::new());
        let options = OpenOptions::new(path, Arc::new(Metrics::new()), clock);
        let connection = Connection::open(&OpenOptions { max_pages, ..options }).expect("open");
        let table = "CREATE TABLE seen (id INTEGER PRIMARY KEY, body BLOB) STRICT";
        connection.execute(table, &[]).expect("created");
        connection
    }

    const INSERT: &str = "INSERT INTO seen (id, body) VALUES (?, ?)";

    #[test]
    fn a_transaction_is_committed_or_rolled_back_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open(&folder, None);
        for (end, kept) in [("ROLLBACK", 0_i64), ("COMMIT", 3)] {
            connection.execute("BEGIN IMMEDIATE", &[]).expect("begun");
            let mut insert = connection.prepare(INSERT).expect("prepared");
            for id in [1, 2] {
                assert_eq!(insert.execute(params![id, [0_u8; 3]]).expect("inserted"), 1);
            }
            drop(insert);
            let key = connection.insert(INSERT, params![3, None::<i64>]).expect("inserted");
            assert_eq!(key, 3);
            connection.execute(end, &[]).expect("ended");
            let count = |row: &Row<'_>| row.get(0);
            let found: i64 =
                connection.one("SELECT count(*) FROM seen", &[], count).expect("counted");
            assert_eq!(found, kept, "{end}");
        }
        connection.close().expect("closed");
    }

    #[test]
    fn the_reach_of_an_error_follows_from_its_code() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open(&folder, Some(4));
        connection.execute(INSERT, params![1, None::<i64>]).expect("inserted");
        let twice = connection.execute(INSERT, params![1, None::<i64>]).expect_err("a second time");
        assert_eq!(SqlError::from(twice).reach(), Reach::Statement);
        let full = connection.execute(INSERT, params![2, vec![0_u8; 1 << 16]]);
        assert_eq!(SqlError::from(full.expect_err("no room")).reach(), Reach::Full);
        connection.close().expect("closed");
    }

    #[test]
    fn no_row_is_read_after_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = open(&folder, None);
        for id in 1..=3 {
            connection.execute(INSERT, params![id, None::<i64>]).expect("inserted");
        }
        let mut rows_read = 0;
        let mut all = connection.prepare("SELECT id FROM seen ORDER BY id").expect("prepared");
        let read = |row: &Row<'_>| {
            rows_read += 1;
            row.get(0)
        };
        let found: Vec<i64> = all.until(&[], read, |id| *id == 2).expect("found");
        assert_eq!((found, rows_read), (vec![1, 2], 2));
        drop(all);
        connection.close().expect("closed");
    }
}
