//! A PostgreSQL server as the bench sees it: databases of its own, what a database and the WAL take, and a snapshot
//! that is held open.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::store::StoreError;

/// A connection beside the service's.
#[derive(Debug)]
pub struct ServerProbe {
    conn: PgConnection,
}

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Its version, such as `15.14`.
    pub version: String,
    /// The id of this connection's process, which the server's main process started.
    pub process_id: i32,
}

impl ServerProbe {
    /// Connects to a database.
    ///
    /// # Errors
    /// When the address cannot be parsed or the server does not let it in.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| failed("connect", error))?;
        let options = options.application_name("postrider bench").disable_statement_logging();
        let conn = options.connect().await.map_err(|error| failed("connect", error))?;
        Ok(Self { conn })
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn info(&mut self) -> Result<ServerInfo, StoreError> {
        let row = sqlx::query("SELECT current_setting('server_version'), pg_backend_pid()")
            .fetch_one(&mut self.conn)
            .await
            .map_err(|error| failed("ask the server", error))?;
        let read = || {
            Ok::<_, sqlx::Error>(ServerInfo {
                version: row.try_get(0)?,
                process_id: row.try_get(1)?,
            })
        };
        read().map_err(|error| failed("ask the server", error))
    }

    /// Makes a database. Its name is the caller's own: it is not quoted.
    ///
    /// # Errors
    /// When the user may not.
    pub async fn create_database(&mut self, name: &str) -> Result<(), StoreError> {
        self.run(
            "make a database",
            format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"),
        )
        .await
    }

    /// Drops a database that [`Self::create_database`] made.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn drop_database(&mut self, name: &str) -> Result<(), StoreError> {
        self.run("drop a database", format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
    }

    /// Bytes of WAL that the server has written since it was made.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn wal_bytes(&mut self) -> Result<u64, StoreError> {
        self.count(
            "read the WAL's position",
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint",
        )
        .await
    }

    /// Bytes that this connection's database takes on disk.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn database_bytes(&mut self) -> Result<u64, StoreError> {
        self.count("read the database's size", "SELECT pg_database_size(current_database())").await
    }

    /// Takes a snapshot, which no vacuum removes rows of until this connection ends.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn hold_snapshot(&mut self) -> Result<(), StoreError> {
        const CONTEXT: &str = "hold a snapshot";
        self.run(CONTEXT, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned()).await?;
        self.count(CONTEXT, "SELECT count(*) FROM pg_class").await.map(|_| ())
    }

    async fn run(&mut self, context: &'static str, sql: String) -> Result<(), StoreError> {
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.conn).await;
        run.map(|_| ()).map_err(|error| failed(context, error))
    }

    async fn count(&mut self, context: &'static str, sql: &'static str) -> Result<u64, StoreError> {
        let found: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(&mut self.conn).await;
        let found = found.map_err(|error| failed(context, error))?;
        Ok(u64::try_from(found).unwrap_or(0))
    }
}

fn failed(context: &'static str, source: sqlx::Error) -> StoreError {
    StoreError::Database { context, source: Box::new(source) }
}
