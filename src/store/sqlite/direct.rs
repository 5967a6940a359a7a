//! The writer's connection, which two threads use in turn: SQLite's own, through sqlx, for what is
//! rare; and the writer's, for what every event takes: there a statement is prepared once and run row
//! by row, its values bound where they lie, and no row is handed to another thread.

use std::mem::ManuallyDrop;

use rusqlite::{CachedStatement, ToSql};
use sqlx::Connection;
use sqlx::sqlite::{LockedSqliteHandle, SqliteConnection};

use super::failure::direct_error;
use super::open::{self, OpenOptions};

/// Statements that stay prepared.
const STATEMENTS: usize = 64;

/// The connection.
pub(super) struct Direct {
    /// Ends only in [`Direct::end`], while SQLite's thread stands aside: it frees statements.
    sqlite: ManuallyDrop<rusqlite::Connection>,
    sqlx: SqliteConnection,
    /// SQLite's own thread has nothing left to do.
    is_aside: bool,
}

impl Direct {
    /// Opens it.
    pub(super) async fn open(options: &OpenOptions) -> Result<Self, sqlx::Error> {
        let mut sqlx = open::connect_writer(options).await?;
        let sqlite = connection(&mut sqlx.lock_handle().await?)?;
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self { sqlite: ManuallyDrop::new(sqlite), sqlx, is_aside: true })
    }

    /// For SQLite's own thread.
    pub(super) const fn sqlx(&mut self) -> &mut SqliteConnection {
        self.is_aside = false;
        &mut self.sqlx
    }

    /// For this thread: SQLite's own has done all it was asked to, and is asked for nothing while the
    /// answer is there. To hear that takes two hops, which are spared where it was asked for nothing.
    pub(super) async fn hold(&mut self) -> Result<Held<'_>, sqlx::Error> {
        if !self.is_aside {
            drop(self.sqlx.lock_handle().await?);
            self.is_aside = true;
        }
        Ok(Held { sqlite: &self.sqlite })
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        let Self { sqlite, mut sqlx, .. } = self;
        let aside = sqlx.lock_handle().await?;
        drop(ManuallyDrop::into_inner(sqlite));
        drop(aside);
        sqlx.close().await
    }
}

/// The same database connection for rusqlite, which does not close it.
#[expect(unsafe_code, reason = "rusqlite takes over no handle of sqlx in any other way")]
fn connection(handle: &mut LockedSqliteHandle<'_>) -> Result<rusqlite::Connection, sqlx::Error> {
    // SAFETY: the handle is open, and stays so while `Direct` lives: it ends sqlx's connection last.
    // What is made here is used only through `Held`, which borrows `Direct` and is made only when
    // SQLite's own thread is through with what it was asked, so that never two threads are in it.
    unsafe { rusqlite::Connection::from_handle(handle.as_raw_handle().as_ptr()) }
        .map_err(direct_error)
}

/// The connection in the hands of this thread.
pub(super) struct Held<'a> {
    sqlite: &'a rusqlite::Connection,
}

impl Held<'_> {
    /// Prepares a statement, or takes the one that is prepared.
    pub(super) fn prepare(&self, sql: &'static str) -> Result<Statement<'_>, sqlx::Error> {
        self.sqlite.prepare_cached(sql).map(Statement).map_err(direct_error)
    }

    /// Runs a statement once; returns how many rows it changed.
    pub(super) fn change(
        &self,
        sql: &'static str,
        values: &[&dyn ToSql],
    ) -> Result<usize, sqlx::Error> {
        self.prepare(sql)?.change(values)
    }
}

/// A statement that is run row by row.
pub(super) struct Statement<'a>(CachedStatement<'a>);

impl Statement<'_> {
    /// Runs it; returns how many rows it changed.
    pub(super) fn change(&mut self, values: &[&dyn ToSql]) -> Result<usize, sqlx::Error> {
        self.0.execute(values).map_err(direct_error)
    }

    /// Whether it finds anything.
    pub(super) fn finds(&mut self, values: &[&dyn ToSql]) -> Result<bool, sqlx::Error> {
        self.0.exists(values).map_err(direct_error)
    }

    /// What it finds, read row by row.
    pub(super) fn find<T>(
        &mut self,
        values: &[&dyn ToSql],
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, sqlx::Error> {
        self.find_until(values, read, |_| false)
    }

    /// The same up to the first that `is_last` says so of; nothing is read after it.
    pub(super) fn find_until<T>(
        &mut self,
        values: &[&dyn ToSql],
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
        mut is_last: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, sqlx::Error> {
        let mut found = Vec::new();
        for row in self.0.query_map(values, read).map_err(direct_error)? {
            let row = row.map_err(direct_error)?;
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

    use super::super::failure::{Reach, reach};
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::telemetry::metrics::Metrics;

    async fn open(folder: &tempfile::TempDir, max_pages: Option<u32>) -> Direct {
        let path = folder.path().join("one.db");
        std::fs::File::create(&path).expect("a file");
        let clock = Arc::new(SystemClock::new());
        let options = OpenOptions::new(path, Arc::new(Metrics::new()), clock);
        let mut direct = Direct::open(&OpenOptions { max_pages, ..options }).await.expect("open");
        let table = "CREATE TABLE seen (id INTEGER PRIMARY KEY, body BLOB) STRICT";
        sqlx::query(table).execute(direct.sqlx()).await.expect("made");
        direct
    }

    const INSERT: &str = "INSERT INTO seen (id, body) VALUES (?, ?)";

    #[tokio::test]
    async fn both_threads_write_in_one_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut direct = open(&folder, None).await;
        for (end, kept) in [("ROLLBACK", 0_i64), ("COMMIT", 3)] {
            let held = direct.hold().await.expect("held");
            held.change("BEGIN IMMEDIATE", &[]).expect("begun");
            let mut insert = held.prepare(INSERT).expect("prepared");
            for id in [1, 2] {
                assert_eq!(insert.change(params![id, [0_u8; 3]]).expect("inserted"), 1);
            }
            drop(insert);
            sqlx::query("INSERT INTO seen (id) VALUES (3)")
                .execute(direct.sqlx())
                .await
                .expect("inserted");
            direct.hold().await.expect("held").change(end, &[]).expect("ended");
            let found: i64 = sqlx::query_scalar("SELECT count(*) FROM seen")
                .fetch_one(direct.sqlx())
                .await
                .expect("counted");
            assert_eq!(found, kept, "{end}");
        }
        direct.end().await.expect("ended");
    }

    #[tokio::test]
    async fn an_error_reaches_as_far_as_it_does_through_sqlx() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut direct = open(&folder, Some(4)).await;
        let held = direct.hold().await.expect("held");
        held.change(INSERT, params![1, None::<i64>]).expect("inserted");
        let twice = held.change(INSERT, params![1, None::<i64>]).expect_err("a second time");
        assert_eq!(reach(&twice), Reach::Statement, "{twice}");
        let full = held.change(INSERT, params![2, vec![0_u8; 1 << 16]]).expect_err("no room");
        assert_eq!(reach(&full), Reach::Full, "{full}");
        direct.end().await.expect("ended");
    }

    #[tokio::test]
    async fn nothing_is_read_after_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut direct = open(&folder, None).await;
        let held = direct.hold().await.expect("held");
        for id in 1..=3 {
            held.change(INSERT, params![id, None::<i64>]).expect("inserted");
        }
        let mut rows_read = 0;
        let mut all = held.prepare("SELECT id FROM seen ORDER BY id").expect("prepared");
        let read = |row: &rusqlite::Row<'_>| {
            rows_read += 1;
            row.get(0)
        };
        let found: Vec<i64> = all.find_until(&[], read, |id| *id == 2).expect("found");
        assert_eq!((found, rows_read), (vec![1, 2], 2));
        drop(all);
        direct.end().await.expect("ended");
    }
}
