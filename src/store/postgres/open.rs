//! Opening a database: the server and the schema are checked before anything is changed; then migrations,
//! forward only; then the connections.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Row as _, SqlSafeStr as _};

use super::error::sqlstate;
use super::moves::mark;
use crate::domain::clock::Clock;
use crate::domain::database::DatabaseAddress;
use crate::store::scan_limits::ScanLimits;
use crate::store::transfer::{Direction, MovedError};
use crate::telemetry::metrics::Metrics;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// PostgreSQL 14.
const OLDEST_SERVER: i32 = 140_000;
/// The schema that everything is in.
const SCHEMA: &str = "postrider";

/// Options of the store.
#[derive(Clone)]
pub struct OpenOptions {
    /// The database's address, `postgres://user:password@host:port/database`.
    pub url: String,
    /// Counts commits and sizes.
    pub metrics: Arc<Metrics>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// How many rows one query of a list scans.
    pub scan_limits: ScanLimits,
    /// A day with more events is dropped as a whole when all of it is past retention; a smaller one is pruned event
    /// by event.
    pub large_day: u32,
    /// Connections for queries.
    pub readers: u32,
    /// Connections that accept and record.
    pub writers: u32,
    /// Events queued for the writers before backpressure refuses more.
    pub max_queued_events: usize,
    /// Bytes of events queued for the writers before backpressure refuses more.
    pub max_queued_bytes: usize,
}

impl OpenOptions {
    /// The defaults for the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self {
            url: url.into(),
            metrics,
            clock,
            scan_limits: ScanLimits::default(),
            large_day: 10_000,
            readers: 4,
            writers: 2,
            max_queued_events: 65_536,
            max_queued_bytes: 64 << 20,
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        out.debug_struct("OpenOptions").field("writers", &self.writers).finish_non_exhaustive()
    }
}

/// Why a database could not be opened; [`OpenError::hint`] says what to do. Nothing in it was changed, unless a
/// migration began and was rolled back. Databases are named without user and password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is not one of PostgreSQL's form.
    #[error("the database's address cannot be parsed")]
    Address(#[source] sqlx::Error),
    /// No server answers there.
    #[error("the database {database} cannot be reached")]
    Unreachable {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server does not let this user in.
    #[error("the database {database} refuses user {user}")]
    Refused {
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// The server has no such database.
    #[error("the database {database} does not exist")]
    NoDatabase {
        /// The database.
        database: String,
    },
    /// The server is older than this program supports.
    #[error("the server of the database {database} is PostgreSQL {found}, at least 14 is needed")]
    OldServer {
        /// The database.
        database: String,
        /// Its version.
        found: String,
    },
    /// The server is a standby, or takes no writes.
    #[error("the database {database} is read-only")]
    ReadOnly {
        /// The database.
        database: String,
    },
    /// The database has another encoding.
    #[error("the database {database} has the encoding {found}, UTF8 is needed")]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        found: String,
    },
    /// The user lacks a right.
    #[error("user {user} may not {right} the schema postrider of the database {database}")]
    NoRight {
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// What it may not do.
        right: &'static str,
    },
    /// The schema holds something else.
    #[error("the schema postrider of the database {database} holds tables of another program")]
    NotOurs {
        /// The database.
        database: String,
    },
    /// A later version of this program wrote the schema.
    #[error(
        "the database {database} has schema version {found}, this program knows up to version {program}"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its schema version.
        found: i64,
        /// The newest this program knows.
        program: i64,
    },
    /// A migration failed.
    #[error("the schema of the database {database} could not be brought up to date")]
    Migration {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// It was moved to another database, or another one into it.
    #[error(transparent)]
    Moved(#[from] MovedError),
    /// Every slot of node keys is in use.
    #[error("the database {database} has 1,024 nodes that have not ended")]
    NoSlot {
        /// The database.
        database: String,
    },
    /// The server failed a query.
    #[error("the database {database} could not be opened")]
    Database {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address(_) => "set `database` to postgres://user:password@host:5432/name",
            Self::Unreachable { .. } => {
                "check that the server runs, and host, port and TLS mode in `database`"
            }
            Self::Refused { .. } => "check user and password in `database`, and pg_hba.conf",
            Self::NoDatabase { .. } => "create it: createdb --encoding=UTF8 NAME",
            Self::OldServer { .. } => "upgrade the server to PostgreSQL 14 or newer",
            Self::ReadOnly { .. } => "set `database` to the primary server",
            Self::Encoding { .. } => "create a database with --encoding=UTF8",
            Self::NoRight { .. } => {
                "run as an administrator: CREATE SCHEMA postrider AUTHORIZATION that user"
            }
            Self::NotOurs { .. } => "set `database` to a database without a schema `postrider`",
            Self::Newer { .. } => "run the newer program that wrote it, or restore a backup",
            Self::Migration {
                source: MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_),
                ..
            } => {
                "a build with other migrations wrote the schema, which is unchanged: \
                 run that build, or set `database` to another one"
            }
            Self::Migration { .. } => "the schema is unchanged; the server's log says more",
            Self::Moved(_) => "one of the two databases may be served, never both",
            Self::NoSlot { .. } => "stop nodes that are not needed",
            Self::Database { .. } => "the server's log says more",
        }
    }
}

/// A database and its user, for messages: no password.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    pub(super) name: String,
    /// As in a setting, for commands.
    address: String,
    user: String,
}

impl Target {
    /// Parses the address.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(OpenError::Address)?
            .application_name("postrider")
            .disable_statement_logging()
            // JIT compiles what the planner takes for large, 50 ms each time: it does not see how small hot tables are.
            .options([("search_path", SCHEMA), ("jit", "off")]);
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let name = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let user = options.get_username().to_owned();
        let address = DatabaseAddress::parse(url).map_or_else(|| name.clone(), |it| it.shown());
        Ok(Self { options, name, address, user })
    }

    pub(super) fn failed(&self, source: sqlx::Error) -> OpenError {
        let (database, user) = (self.name.clone(), self.user.clone());
        match sqlstate(&source).as_deref() {
            Some("28P01" | "28000") => OpenError::Refused { database, user, source },
            Some("3D000") => OpenError::NoDatabase { database },
            Some("42501") => OpenError::NoRight { database, user, right: "use" },
            Some("25006") => OpenError::ReadOnly { database },
            Some(_) => OpenError::Database { database, source },
            None => OpenError::Unreachable { database, source: Box::new(source) },
        }
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, OpenError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.options.connect()).await {
            Ok(connected) => connected.map_err(|source| self.failed(source)),
            Err(late) => {
                Err(OpenError::Unreachable { database: self.name.clone(), source: Box::new(late) })
            }
        }
    }

    /// Checks server and schema, then migrates it; returns a slot for the keys of this process.
    pub(super) async fn prepare(&self) -> Result<i64, OpenError> {
        let failed = |source| self.failed(source);
        let mut conn = self.connect().await?;
        self.check_server(&mut conn).await?;
        self.check_schema(&mut conn).await?;
        Migrator::with_migrations(migrations())
            .run_direct(None, &mut conn, false)
            .await
            .map_err(|source| OpenError::Migration { database: self.name.clone(), source })?;
        let slot = super::node::free_slot(&mut conn).await.map_err(failed)?;
        conn.close().await.map_err(failed)?;
        slot.ok_or_else(|| OpenError::NoSlot { database: self.name.clone() })
    }

    /// Refuses a database that was moved away, or is not moved whole.
    pub(super) async fn check_moves(&self) -> Result<(), OpenError> {
        let failed = |source| self.failed(source);
        let mut conn = self.connect().await?;
        let out = mark(&mut conn, Direction::Out).await.map_err(failed)?;
        let into = mark(&mut conn, Direction::In).await.map_err(failed)?;
        conn.close().await.map_err(failed)?;
        Ok(MovedError::check(&self.address, out, into)?)
    }

    async fn check_server(&self, conn: &mut PgConnection) -> Result<(), OpenError> {
        let failed = |source| self.failed(source);
        let row = sqlx::query(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                current_setting('server_encoding'),
                pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean",
        )
        .fetch_one(conn)
        .await
        .map_err(failed)?;
        let database = self.name.clone();
        let version: i32 = row.try_get(0).map_err(failed)?;
        if version < OLDEST_SERVER {
            let found = row.try_get(1).map_err(failed)?;
            return Err(OpenError::OldServer { database, found });
        }
        let found: String = row.try_get(2).map_err(failed)?;
        if found != "UTF8" {
            return Err(OpenError::Encoding { database, found });
        }
        if row.try_get(3).map_err(failed)? {
            return Err(OpenError::ReadOnly { database });
        }
        Ok(())
    }

    /// Refuses schemas of other programs and of later versions of this one; makes a missing one.
    async fn check_schema(&self, conn: &mut PgConnection) -> Result<(), OpenError> {
        let failed = |source| self.failed(source);
        let no_right = |right| OpenError::NoRight {
            database: self.name.clone(),
            user: self.user.clone(),
            right,
        };
        let row = sqlx::query(
            "SELECT n.oid IS NOT NULL,
                coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'),
                    has_database_privilege(current_database(), 'CREATE')),
                EXISTS (SELECT 1 FROM pg_class AS c
                    WHERE c.relnamespace = n.oid AND c.relname = '_sqlx_migrations'),
                EXISTS (SELECT 1 FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind = 'r')
             FROM (SELECT to_regnamespace($1)::oid AS oid) AS n",
        )
        .bind(SCHEMA)
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
        let at = |index: usize| row.try_get::<bool, _>(index).map_err(failed);
        let (exists, may_use, is_ours, has_tables) = (at(0)?, at(1)?, at(2)?, at(3)?);
        if !exists {
            if !may_use {
                return Err(no_right("create"));
            }
            let create = sqlx::query("CREATE SCHEMA IF NOT EXISTS postrider").execute(conn).await;
            return match create {
                // Another node was faster.
                Err(error) if sqlstate(&error).as_deref() == Some("23505") => Ok(()),
                done => done.map(|_| ()).map_err(failed),
            };
        }
        if !may_use {
            return Err(no_right("use"));
        }
        if !is_ours {
            let database = self.name.clone();
            return if has_tables { Err(OpenError::NotOurs { database }) } else { Ok(()) };
        }
        self.check_version(conn).await
    }

    async fn check_version(&self, conn: &mut PgConnection) -> Result<(), OpenError> {
        let found: i64 =
            sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM postrider._sqlx_migrations")
                .fetch_one(conn)
                .await
                .map_err(|source| self.failed(source))?;
        let program = schema_version();
        if found > program {
            return Err(OpenError::Newer { database: self.name.clone(), found, program });
        }
        Ok(())
    }

    /// Connections for queries.
    pub(super) fn readers(&self, connections: u32) -> PgPool {
        pool(connections).connect_lazy_with(self.options.clone())
    }

    /// Connections for steps that write.
    pub(super) fn workers(&self, connections: u32) -> PgPool {
        pool(connections).connect_lazy_with(self.writing())
    }

    /// A connection that accepts and records.
    pub(super) async fn writer(&self) -> Result<PgConnection, sqlx::Error> {
        // Each row that is given is found by its key, however many rows the planner expects.
        let options =
            self.writing().options([("enable_hashjoin", "off"), ("enable_mergejoin", "off")]);
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(connected) => connected,
            Err(late) => Err(sqlx::Error::Io(std::io::Error::other(late))),
        }
    }

    /// Statements over hot tables keep the plan that is right when they are large: the planner does not see
    /// how large they are.
    fn writing(&self) -> PgConnectOptions {
        self.options
            .clone()
            .options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")])
    }
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections.max(1)).test_before_acquire(false)
}

/// A migration is frozen once released: every database has its checksum, comments included.
fn migrations() -> Vec<Migration> {
    let outbox = include_str!("../../../migrations/postgres/0001_outbox.sql");
    let shared_limits = include_str!("../../../migrations/postgres/0003_shared_limits.sql");
    let simple = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let inbox = include_str!("../../../migrations/postgres/0004_inbox.sql");
    let filters = include_str!("../../../migrations/postgres/0005_filters.sql");
    vec![
        simple(1, "outbox", outbox),
        simple(3, "shared limits", shared_limits),
        simple(4, "inbox", inbox),
        simple(5, "filters", filters),
    ]
}

/// The newest schema version this program knows.
#[must_use]
pub fn schema_version() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or(0)
}
