//! The inbox in an application's PostgreSQL database: rows are locked, accepted by the service's store, deleted, in
//! that order. Locks end with the connection: rows whose deletion was lost are taken again, as duplicates.

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::{ApplicationError, ApplicationInbox, ApplicationRow};
use crate::domain::clock::Timestamp;
use crate::domain::inbox::{Backlog, MOST_COUNTED};

const SCHEMA: &str = include_str!("inbox.sql");
/// How long the server may take for one step.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The inbox in a database.
pub(super) struct PostgresInbox {
    url: String,
    name: String,
    /// None before the first look, and after an error.
    conn: Option<PgConnection>,
}

impl PostgresInbox {
    pub(super) const fn new(url: String, name: String) -> Self {
        Self { url, name, conn: None }
    }

    /// The connection, for one step: it is put back once that has succeeded. Otherwise it is closed, which ends its
    /// transaction.
    async fn connection(&mut self) -> Result<PgConnection, ApplicationError> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => self.done(timely(connect(&self.url)).await),
        }
    }

    fn done<T>(&self, step: Result<T, sqlx::Error>) -> Result<T, ApplicationError> {
        step.map_err(|error| failure(error, &self.name))
    }
}

/// A step within its timeout.
async fn timely<T>(
    step: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(TIMEOUT, step).await {
        Ok(done) => done,
        Err(late) => Err(sqlx::Error::Io(std::io::Error::other(late))),
    }
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("postrider inbox");
    // Many empty looks, few rows: the planner should not count on the table's size of the moment.
    options
        .options([("enable_seqscan", "off"), ("jit", "off")])
        .disable_statement_logging()
        .connect()
        .await
}

fn failure(error: sqlx::Error, name: &str) -> ApplicationError {
    let code = error.as_database_error().and_then(|it| it.code()).map(std::borrow::Cow::into_owned);
    match code.as_deref() {
        Some("3F000" | "42P01") => ApplicationError::NoInbox(name.to_owned()),
        Some("42703" | "42804") => ApplicationError::OtherSchema(error),
        Some("25006") => ApplicationError::ReadOnly(error),
        Some("53100") => ApplicationError::Full(error),
        Some("55P03") => ApplicationError::Locked(error),
        _ => ApplicationError::Database(error),
    }
}

/// Makes schema, table and function.
pub(super) async fn init(url: &str) -> Result<(), ApplicationError> {
    let failed = |error| failure(error, "the database");
    let mut conn = connect(url).await.map_err(failed)?;
    let of_service: bool =
        sqlx::query_scalar("SELECT to_regclass('postrider._sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut conn)
            .await
            .map_err(failed)?;
    if of_service {
        return Err(ApplicationError::OfService);
    }
    let mut transaction = conn.begin().await.map_err(failed)?;
    transaction.execute(sqlx::raw_sql(SCHEMA)).await.map_err(failed)?;
    // A table that was there has these columns too.
    let check =
        "SELECT id, key, source, message_id, message, enqueued_at FROM postrider.inbox LIMIT 0";
    sqlx::query(check).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    conn.close().await.map_err(failed)
}

/// Grants what an application needs, and no more.
pub(super) async fn grant(url: &str, role: &str) -> Result<(), ApplicationError> {
    let failed = |error| failure(error, "the database");
    let mut conn = connect(url).await.map_err(failed)?;
    let role: String = sqlx::query_scalar("SELECT quote_ident($1)")
        .bind(role)
        .fetch_one(&mut conn)
        .await
        .map_err(failed)?;
    let sql = format!(
        "BEGIN; GRANT USAGE ON SCHEMA postrider TO {role};
         GRANT EXECUTE ON FUNCTION postrider.enqueue(text, json, text) TO {role}; COMMIT"
    );
    conn.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map_err(failed)?;
    conn.close().await.map_err(failed)
}

fn read(row: &PgRow) -> Result<ApplicationRow, sqlx::Error> {
    Ok(ApplicationRow {
        id: row.try_get(0)?,
        key: row.try_get(1)?,
        source: row.try_get(2)?,
        message_id: row.try_get(3)?,
        message: row.try_get(4)?,
    })
}

#[async_trait]
impl ApplicationInbox for PostgresInbox {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn waiting_sources(&mut self, most: u32) -> Result<Vec<String>, ApplicationError> {
        let mut conn = self.connection().await?;
        let look = sqlx::query_scalar(
            "WITH RECURSIVE waiting (source) AS (
                (SELECT source FROM postrider.inbox ORDER BY source LIMIT 1)
                UNION ALL
                SELECT (SELECT i.source FROM postrider.inbox AS i WHERE i.source > w.source
                    ORDER BY i.source LIMIT 1)
                FROM waiting AS w WHERE w.source IS NOT NULL
             ) SELECT source FROM waiting WHERE source IS NOT NULL LIMIT $1",
        )
        .bind(i64::from(most))
        .fetch_all(&mut conn);
        let sources = timely(look).await;
        let sources = self.done(sources)?;
        self.conn = Some(conn);
        Ok(sources)
    }

    async fn take(
        &mut self,
        sources: &[String],
        most_each: u32,
    ) -> Result<Vec<ApplicationRow>, ApplicationError> {
        let mut conn = self.connection().await?;
        let lock = async {
            conn.execute("BEGIN").await?;
            let rows = sqlx::query(
                "SELECT r.id, r.key, r.source, r.message_id, r.message
                 FROM unnest($1::text[]) AS ready (source)
                 CROSS JOIN LATERAL (
                    SELECT i.id, i.key::text, i.source, i.message_id, i.message::text
                    FROM postrider.inbox AS i WHERE i.source = ready.source
                    ORDER BY i.id LIMIT $2 FOR UPDATE SKIP LOCKED
                 ) AS r ORDER BY r.source, r.id",
            )
            .bind(sources)
            .bind(i64::from(most_each))
            .fetch_all(&mut conn)
            .await?;
            rows.iter().map(read).collect()
        };
        let rows = timely(lock).await;
        let rows = self.done(rows)?;
        self.conn = Some(conn);
        Ok(rows)
    }

    async fn delete(&mut self, rows: &[ApplicationRow]) -> Result<(), ApplicationError> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        let mut conn = self.connection().await?;
        let delete = async {
            sqlx::query(
                "DELETE FROM postrider.inbox AS i
                 USING unnest($1::bigint[], $2::text[]) AS d (id, key)
                 WHERE i.id = d.id AND i.key = d.key::uuid",
            )
            .bind(ids)
            .bind(keys)
            .execute(&mut conn)
            .await?;
            // On a new connection there is no transaction, which is a notice.
            conn.execute("COMMIT").await.map(|_| ())
        };
        let deleted = timely(delete).await;
        self.done(deleted)?;
        self.conn = Some(conn);
        Ok(())
    }

    async fn backlog(&mut self) -> Result<Backlog, ApplicationError> {
        let most = i64::try_from(MOST_COUNTED).unwrap_or(i64::MAX);
        let mut conn = self.connection().await?;
        let count = sqlx::query_as(
            "SELECT (SELECT count(*) FROM (SELECT FROM postrider.inbox LIMIT $1) AS counted),
                (SELECT enqueued_at FROM postrider.inbox ORDER BY id LIMIT 1)",
        )
        .bind(most)
        .fetch_one(&mut conn);
        let counted = timely(count).await;
        let (waiting, oldest_at): (i64, Option<i64>) = self.done(counted)?;
        self.conn = Some(conn);
        Ok(Backlog {
            waiting: u64::try_from(waiting).unwrap_or(0),
            oldest_at: oldest_at.map(Timestamp::from_micros),
        })
    }
}
