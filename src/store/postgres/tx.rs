//! Steps that are a transaction of their own, and what they write with. Writers have transactions that group
//! several calls; these are the rarer steps.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlSafeStr;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments as _, Encode, Postgres, Type};

use super::counts::Counts;
use super::keys::KeyGenerator;
use crate::domain::clock::Clock;
use crate::store::failure::Failure;

/// The time of a step that goes over much.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// A step with its transaction. It may run several times; only one run commits.
#[async_trait]
pub(super) trait Step: Send + Sync + 'static {
    /// Its result.
    type Answer: Send + 'static;
    /// What it does, for errors: "create a job".
    const CONTEXT: &'static str;
    /// A server that takes longer is unreachable.
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// Runs it.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Failure>;
}

/// The values of a statement.
#[derive(Default)]
pub(super) struct Values {
    arguments: PgArguments,
    error: Option<BoxDynError>,
}

impl Values {
    /// These values and one more.
    #[must_use]
    pub(super) fn with<'q, T: Encode<'q, Postgres> + Type<Postgres>>(mut self, value: T) -> Self {
        self.push(value);
        self
    }

    /// Adds a value.
    pub(super) fn push<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.error = Some(error);
        }
    }

    fn arguments(self) -> Result<PgArguments, sqlx::Error> {
        match self.error {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }
}

/// The values of a statement, in the order of `$1`, `$2`, ….
macro_rules! params {
    ($($value:expr),* $(,)?) => {{
        let values = $crate::store::postgres::tx::Values::default();
        $(let values = values.with(&$value);)*
        values
    }};
}
pub(super) use params;

/// A running transaction.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a mut PgConnection,
    /// What it counts; written before its COMMIT.
    pub(super) counts: Counts,
    pub(super) keys: &'a KeyGenerator,
    pub(super) clock: &'a dyn Clock,
}

impl Tx<'_> {
    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: Values,
    ) -> Result<u64, Failure> {
        let done = sqlx::query_with(sql, values.arguments()?).execute(&mut *self.conn).await?;
        Ok(done.rows_affected())
    }

    /// The rows of a query.
    pub(super) async fn all<T>(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: Values,
        read: impl Fn(&PgRow) -> Result<T, Failure> + Send,
    ) -> Result<Vec<T>, Failure> {
        let rows = sqlx::query_with(sql, values.arguments()?).fetch_all(&mut *self.conn).await?;
        rows.iter().map(read).collect()
    }

    /// The first row of a query, if there is one.
    pub(super) async fn first<T>(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: Values,
        read: impl Fn(&PgRow) -> Result<T, Failure> + Send,
    ) -> Result<Option<T>, Failure> {
        let row =
            sqlx::query_with(sql, values.arguments()?).fetch_optional(&mut *self.conn).await?;
        row.as_ref().map(read).transpose()
    }

    /// The only row of a query.
    pub(super) async fn one<T>(
        &mut self,
        sql: impl SqlSafeStr + Send,
        values: Values,
        read: impl Fn(&PgRow) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let row = sqlx::query_with(sql, values.arguments()?).fetch_one(&mut *self.conn).await?;
        read(&row)
    }
}
