//! Statements over many rows, in fixed shapes so that each is prepared once: rows are cut greedily
//! into powers of two. One hop to SQLite's thread carries up to 128 rows, and a group of any size
//! takes few hops: while both cores are busy, a hop costs more than the rows it carries.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

/// Rows in each shape.
const SHAPES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// How a row is bound.
pub(super) type Bind<T> = fn(&T, &mut SqliteArguments) -> Result<(), BoxDynError>;

/// One statement in its shapes.
#[derive(Clone, Debug)]
pub(super) struct Shaped {
    sql: [Arc<str>; SHAPES.len()],
    columns: usize,
}

impl Shaped {
    /// `before`, then `(?, …)` with `columns` parameters for each row, then `after`.
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let sql = SHAPES
            .map(|rows| format!("{before}{}{after}", vec![row.as_str(); rows].join(",")).into());
        Self { sql, columns }
    }

    /// Runs it over `rows`; returns how many rows it changed.
    pub(super) async fn execute<T: Sync>(
        &self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for (sql, chunk) in self.cut(rows) {
            let arguments = self.arguments(chunk, bind)?;
            let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *conn).await?;
            changed += done.rows_affected();
        }
        Ok(changed)
    }

    /// Runs it over `rows`; returns what it gave.
    pub(super) async fn fetch<T: Sync>(
        &self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: Bind<T>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut found = Vec::new();
        for (sql, chunk) in self.cut(rows) {
            let arguments = self.arguments(chunk, bind)?;
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            found.append(&mut query.fetch_all(&mut *conn).await?);
        }
        Ok(found)
    }

    fn arguments<T>(&self, rows: &[T], bind: Bind<T>) -> Result<SqliteArguments, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        sqlx::Arguments::reserve(&mut arguments, rows.len() * self.columns, 0);
        for row in rows {
            bind(row, &mut arguments).map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    fn cut<'a, T>(&self, mut rows: &'a [T]) -> Vec<(Arc<str>, &'a [T])> {
        let mut pieces = Vec::new();
        for (sql, size) in self.sql.iter().zip(SHAPES) {
            while rows.len() >= size {
                let (piece, rest) = rows.split_at(size);
                pieces.push((Arc::clone(sql), piece));
                rows = rest;
            }
        }
        pieces
    }
}

/// Binds a key.
pub(super) fn bind_key(key: &i64, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    sqlx::Arguments::add(to, *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_greedily() {
        let shaped = Shaped::new("VALUES ", 1, "");
        let rows: Vec<u32> = (0..147).collect();
        let pieces: Vec<usize> = shaped.cut(&rows).iter().map(|(_, rows)| rows.len()).collect();
        assert_eq!(pieces, [128, 16, 2, 1]);
        assert!(shaped.cut::<u32>(&[]).is_empty());
    }
}
