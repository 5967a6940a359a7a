//! Rows of a table as one statement with an array a column. COPY would cost the server half of that, but sqlx does
//! not set TCP_NODELAY: its end of a COPY, a small segment behind the data, waits 40 ms for a delayed
//! acknowledgement.

use std::borrow::Cow;
use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;

use crate::store::failure::Failure;

/// Text as PostgreSQL can hold it: it has no NUL. Bodies, which are bytes, keep theirs.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}

/// The values of one column.
#[derive(Debug)]
enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Flags(Vec<Option<bool>>),
    /// Lists of integers, as text: an array of arrays would be one array.
    IntLists(Vec<String>),
}

impl Column {
    const fn array_type(&self) -> &'static str {
        match self {
            Self::Ints(_) => "bigint[]",
            Self::Texts(_) | Self::IntLists(_) => "text[]",
            Self::Bytes(_) => "bytea[]",
            Self::Flags(_) => "boolean[]",
        }
    }

    fn bind(
        self,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Query<'_, sqlx::Postgres, PgArguments> {
        match self {
            Self::Ints(values) => query.bind(values),
            Self::Texts(values) => query.bind(values),
            Self::Bytes(values) => query.bind(values),
            Self::Flags(values) => query.bind(values),
            Self::IntLists(values) => query.bind(values),
        }
    }
}

/// Rows for one table. Every row has the same columns in the same order.
#[derive(Debug, Default)]
pub(super) struct NewRows {
    columns: Vec<Column>,
    next: usize,
}

impl NewRows {
    /// Begins a row.
    pub(super) fn row(&mut self) -> &mut Self {
        self.next = 0;
        self
    }

    fn column(&mut self, new: fn() -> Column) -> &mut Column {
        if self.next == self.columns.len() {
            self.columns.push(new());
        }
        self.next += 1;
        &mut self.columns[self.next - 1]
    }

    pub(super) fn maybe_int(&mut self, value: Option<i64>) -> &mut Self {
        if let Column::Ints(values) = self.column(|| Column::Ints(Vec::new())) {
            values.push(value);
        }
        self
    }

    pub(super) fn int(&mut self, value: i64) -> &mut Self {
        self.maybe_int(Some(value))
    }

    pub(super) fn maybe_text(&mut self, value: Option<&str>) -> &mut Self {
        if let Column::Texts(values) = self.column(|| Column::Texts(Vec::new())) {
            values.push(value.map(|value| text(value).into_owned()));
        }
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.maybe_text(Some(value))
    }

    pub(super) fn maybe_bytes(&mut self, value: Option<&[u8]>) -> &mut Self {
        if let Column::Bytes(values) = self.column(|| Column::Bytes(Vec::new())) {
            values.push(value.map(<[u8]>::to_vec));
        }
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.maybe_bytes(Some(value))
    }

    pub(super) fn maybe_flag(&mut self, value: Option<bool>) -> &mut Self {
        if let Column::Flags(values) = self.column(|| Column::Flags(Vec::new())) {
            values.push(value);
        }
        self
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.maybe_flag(Some(value))
    }

    /// An array of `bigint`.
    pub(super) fn ints(&mut self, values: &[i64]) -> &mut Self {
        if let Column::IntLists(lists) = self.column(|| Column::IntLists(Vec::new())) {
            let words: Vec<String> = values.iter().map(ToString::to_string).collect();
            lists.push(format!("{{{}}}", words.join(",")));
        }
        self
    }

    /// Writes the rows, if there are any. `table` has its columns: `events (id, …)`.
    pub(super) async fn insert(
        self,
        conn: &mut PgConnection,
        table: &'static str,
    ) -> Result<(), Failure> {
        let mut inserts = Inserts::default();
        inserts.add(self, table, "");
        inserts.run(conn).await
    }

    /// The same for every number of rows, so that it is prepared once. Its values follow the first `given` ones.
    fn statement(&self, table: &str, given: usize) -> String {
        let (mut values, mut arrays, mut names) = (String::new(), String::new(), String::new());
        for (index, column) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let cast = if matches!(column, Column::IntLists(_)) { "::bigint[]" } else { "" };
            // Writing to a String does not fail.
            let _ = write!(values, "{comma}c{index}{cast}");
            let _ = write!(arrays, "{comma}${}::{}", given + index + 1, column.array_type());
            let _ = write!(names, "{comma}c{index}");
        }
        format!("INSERT INTO {table} SELECT {values} FROM unnest({arrays}) AS r ({names})")
    }
}

/// Rows for several tables, written by one statement: each statement is a round trip.
#[derive(Debug, Default)]
pub(super) struct Inserts {
    statements: Vec<String>,
    columns: Vec<Column>,
}

impl Inserts {
    /// Adds rows of a table, if there are any. `table` has its columns: `events (id, …)`; `conflict` says what is done
    /// where a row exists.
    pub(super) fn add(&mut self, rows: NewRows, table: &str, conflict: &str) {
        if !rows.columns.is_empty() {
            let insert = rows.statement(table, self.columns.len());
            self.statements.push(format!("{insert} {conflict}"));
            self.columns.extend(rows.columns);
        }
    }

    /// Writes the rows, if there are any.
    pub(super) async fn run(mut self, conn: &mut PgConnection) -> Result<(), Failure> {
        let Some(last) = self.statements.pop() else { return Ok(()) };
        let first = self.statements.iter().enumerate();
        let first: Vec<String> = first.map(|(number, it)| format!("w{number} AS ({it})")).collect();
        let with =
            if first.is_empty() { String::new() } else { format!("WITH {} ", first.join(", ")) };
        let mut query = sqlx::query(AssertSqlSafe(format!("{with}{last}")));
        for column in self.columns {
            query = column.bind(query);
        }
        query.execute(conn).await?;
        Ok(())
    }
}
