//! A whole group in one hop to SQLite's thread. While the cores are busy, waking that thread and being
//! woken by it costs more than the statements do, so they go over as one text. That is possible because
//! the rule can be foreseen: no message is a duplicate, every lease stands. What they changed says whether
//! it was so; if not, the transaction is undone and the group goes the long way. Each is `OR FAIL`: a
//! failure takes the whole transaction along, so SQLite need not keep what would undo one of them.

use futures_util::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor};

use super::shape::Bind;

/// Larger groups go the long way: there a hop carries so many rows that it does not matter.
pub(super) const MOST_ROWS: usize = 128;

/// A statement over up to [`MOST_ROWS`] rows. It takes rows of NULLs too and passes over them, so that
/// a few sizes, each prepared once, serve every number of rows.
#[derive(Debug)]
pub(super) struct Padded {
    before: String,
    columns: usize,
    after: String,
}

impl Padded {
    /// `INSERT` of rows whose first column is never NULL.
    pub(super) fn insert(into: &str, columns: usize) -> Self {
        let before = format!("{into} SELECT * FROM (VALUES ");
        Self { before, columns, after: ") WHERE column1 IS NOT NULL".to_owned() }
    }

    /// A statement whose rows stand between `before` and `after`; rows of NULLs change nothing.
    pub(super) fn new(before: &str, columns: usize, after: impl Into<String>) -> Self {
        Self { before: before.to_owned(), columns, after: after.into() }
    }

    fn write(&self, rows: usize, to: &mut String) {
        to.push_str(&self.before);
        for row in 0..rows {
            to.push_str(if row == 0 { "(?" } else { ",(?" });
            for _ in 1..self.columns {
                to.push_str(",?");
            }
            to.push(')');
        }
        to.push_str(&self.after);
        to.push(';');
    }
}

/// Statements on their way, and how many rows each must change; none for a query.
#[derive(Default)]
pub(super) struct Batch {
    sql: String,
    arguments: SqliteArguments,
    expected: Vec<Option<u64>>,
}

impl Batch {
    /// Begins a transaction.
    pub(super) fn begin() -> Self {
        Self { sql: "BEGIN IMMEDIATE;".to_owned(), ..Self::default() }
    }

    /// Adds a statement that must change every one of its rows; none when there are no rows.
    pub(super) fn change<T>(
        &mut self,
        statement: &Padded,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<(), BoxDynError> {
        self.add(statement, rows, bind, Some(u64::try_from(rows.len()).unwrap_or(u64::MAX)))
    }

    /// Adds a query that must find nothing.
    pub(super) fn find_none<T>(
        &mut self,
        statement: &Padded,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<(), BoxDynError> {
        self.add(statement, rows, bind, None)
    }

    fn add<T>(
        &mut self,
        statement: &Padded,
        rows: &[T],
        bind: Bind<T>,
        expected: Option<u64>,
    ) -> Result<(), BoxDynError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.expected.push(expected);
        let padded = rows.len().next_power_of_two();
        statement.write(padded, &mut self.sql);
        self.arguments.reserve(padded * statement.columns, 0);
        for row in rows {
            bind(row, &mut self.arguments)?;
        }
        for _ in 0..(padded - rows.len()) * statement.columns {
            self.arguments.add(None::<i64>)?;
        }
        Ok(())
    }

    /// Runs everything; whether all went as expected. A query's own count is of the statement before
    /// it, so what it found is told by its rows alone.
    pub(super) async fn run(self, conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        let mut given = conn.fetch_many(query);
        let mut changed = Vec::with_capacity(self.expected.len() + 1);
        let mut found = false;
        while let Some(one) = given.try_next().await? {
            match one {
                Either::Left(done) => changed.push(done.rows_affected()),
                Either::Right(_) => found = true,
            }
        }
        drop(given);
        // The first answer is that of BEGIN.
        let as_expected = changed.len() == self.expected.len() + 1
            && changed
                .iter()
                .skip(1)
                .zip(&self.expected)
                .all(|(is, must)| must.is_none_or(|must| *is == must));
        Ok(as_expected && !found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection;

    fn bind(row: &i64, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        to.add(*row)
    }

    #[tokio::test]
    async fn it_tells_whether_all_went_as_expected() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("in memory");
        conn.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY) STRICT").await.expect("made");
        let insert = Padded::insert("INSERT OR IGNORE INTO seen (id)", 1);
        let find = Padded::new("SELECT id FROM seen WHERE id IN (VALUES ", 1, ")");
        let mut as_expected = async |find_rows: &[i64], rows: &[i64]| {
            let mut batch = Batch::begin();
            batch.find_none(&find, find_rows, bind).expect("bound");
            batch.change(&insert, rows, bind).expect("bound");
            let given = batch.run(&mut conn).await.expect("ran");
            conn.execute(if given { "COMMIT" } else { "ROLLBACK" }).await.expect("ended");
            given
        };
        assert!(as_expected(&[1, 2, 3], &[1, 2, 3]).await);
        assert!(as_expected(&[4], &[4, 5, 6, 7, 8]).await);
        assert!(!as_expected(&[9], &[9, 3]).await, "one was ignored");
        assert!(!as_expected(&[9, 3], &[9]).await, "one was found");
        assert!(as_expected(&[9], &[9]).await, "what was undone is undone");
    }
}
