//! The inbox in an application's SQLite file. Nothing of the file is changed but rows of `postrider_inbox`: neither
//! its journal mode nor its page cache. `PRAGMA data_version` says whether another connection has committed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{ApplicationError, ApplicationInbox, ApplicationRow};
use crate::domain::clock::Timestamp;
use crate::domain::inbox::{Backlog, MOST_COUNTED};

/// How long a lock of the application is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The table. It is no STRICT one: an application's SQLite may be older than those.
const TABLE: &str = r#"CREATE TABLE IF NOT EXISTS postrider_inbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    source       TEXT NOT NULL CONSTRAINT "source is a name" CHECK (typeof(source) = 'text' AND source <> ''),
    message      TEXT NOT NULL
        CONSTRAINT "message is a JSON object" CHECK
            (typeof(message) = 'text' AND json_valid(message) AND json_type(message) = 'object')
        CONSTRAINT "message has a known type" CHECK (coalesce(json_extract(message, '$.type'), '') IN
            ('track', 'identify', 'page', 'screen', 'group', 'alias', 'delete'))
        CONSTRAINT "message has at most 32768 bytes" CHECK (length(CAST(message AS BLOB)) <= 32768),
    message_id   TEXT CONSTRAINT "message_id has 1 to 100 characters" CHECK (length(message_id) BETWEEN 1 AND 100),
    key          TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    enqueued_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))
)"#;
const INDEX: &str =
    "CREATE INDEX IF NOT EXISTS postrider_inbox_source ON postrider_inbox (source, id)";

/// A file's identity: what a path leads to may be replaced.
type FileId = (u64, u64);

/// The inbox in a file.
pub(super) struct SqliteInbox {
    path: PathBuf,
    opened: Option<Opened>,
}

struct Opened {
    conn: SqliteConnection,
    file: FileId,
    /// The version at the last look that found nothing; none: look.
    seen: Option<i64>,
}

impl SqliteInbox {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, opened: None }
    }

    /// The connection to the file that the path leads to now.
    async fn open(&mut self) -> Result<&mut Opened, ApplicationError> {
        let file = file_id(&self.path)?;
        let opened = match self.opened.take() {
            Some(opened) if opened.file == file => opened,
            _ => Opened { conn: connect(&self.path).await?, file, seen: None },
        };
        Ok(self.opened.insert(opened))
    }

    fn failed(&self, error: sqlx::Error) -> ApplicationError {
        failure(&self.path, error)
    }
}

fn file_id(path: &Path) -> Result<FileId, ApplicationError> {
    match std::fs::metadata(path) {
        Ok(it) => Ok((it.dev(), it.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ApplicationError::Missing(path.display().to_string()))
        }
        Err(error) => Err(ApplicationError::Database(sqlx::Error::Io(error))),
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, ApplicationError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    options.connect().await.map_err(|error| failure(path, error))
}

fn failure(path: &Path, error: sqlx::Error) -> ApplicationError {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const READONLY: u32 = 8;
    const FULL: u32 = 13;
    let (code, message) = match error.as_database_error() {
        Some(it) => (it.code().and_then(|code| code.parse().ok()), it.message().to_owned()),
        None => (None, String::new()),
    };
    // An extended code has its kind in the lowest byte.
    match code.map(|code: u32| code & 0xff) {
        Some(BUSY | LOCKED) => ApplicationError::Locked(error),
        Some(READONLY) => ApplicationError::ReadOnly(error),
        Some(FULL) => ApplicationError::Full(error),
        _ if message.contains("no such table") => {
            ApplicationError::NoInbox(path.display().to_string())
        }
        _ if message.contains("no such column") => ApplicationError::OtherSchema(error),
        _ => ApplicationError::Database(error),
    }
}

/// Makes the table.
pub(super) async fn init(path: &Path) -> Result<(), ApplicationError> {
    let failed = |error| failure(path, error);
    file_id(path)?;
    let mut conn = connect(path).await?;
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    for sql in [TABLE, INDEX] {
        sqlx::query(sql).execute(&mut *transaction).await.map_err(failed)?;
    }
    // A table that was there has these columns too.
    sqlx::query(SELECT).bind("").bind(0_i64).fetch_all(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    conn.close().await.map_err(failed)
}

const SELECT: &str = "SELECT id, key, source, message_id, message, enqueued_at FROM postrider_inbox
     WHERE source = ?1 ORDER BY id LIMIT ?2";

fn read(row: &SqliteRow) -> Result<ApplicationRow, sqlx::Error> {
    Ok(ApplicationRow {
        id: row.try_get(0)?,
        key: row.try_get(1)?,
        source: row.try_get(2)?,
        message_id: row.try_get(3)?,
        message: row.try_get(4)?,
    })
}

#[async_trait]
impl ApplicationInbox for SqliteInbox {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn waiting_sources(&mut self, most: u32) -> Result<Vec<String>, ApplicationError> {
        let Opened { conn, seen, .. } = self.open().await?;
        let look = async {
            let version: i64 =
                sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *conn).await?;
            if *seen == Some(version) {
                return Ok(Vec::new());
            }
            let sources: Vec<String> = sqlx::query_scalar(
                "WITH RECURSIVE waiting (source) AS (
                    SELECT min(source) FROM postrider_inbox
                    UNION ALL
                    SELECT (SELECT min(i.source) FROM postrider_inbox AS i WHERE i.source > w.source)
                    FROM waiting AS w WHERE w.source IS NOT NULL
                 ) SELECT source FROM waiting WHERE source IS NOT NULL LIMIT ?1",
            )
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?;
            *seen = sources.is_empty().then_some(version);
            Ok(sources)
        };
        let found = look.await;
        found.map_err(|error| self.failed(error))
    }

    async fn take(
        &mut self,
        sources: &[String],
        most_each: u32,
    ) -> Result<Vec<ApplicationRow>, ApplicationError> {
        let Opened { conn, .. } = self.open().await?;
        let mut rows = Vec::new();
        for source in sources {
            let query = sqlx::query(SELECT).bind(source).bind(i64::from(most_each));
            let found = query.fetch_all(&mut *conn).await;
            let found =
                found.and_then(|found| found.iter().map(read).collect::<Result<Vec<_>, _>>());
            match found {
                Ok(found) => rows.extend(found),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(rows)
    }

    async fn delete(&mut self, rows: &[ApplicationRow]) -> Result<(), ApplicationError> {
        let Opened { conn, .. } = self.open().await?;
        let delete = async {
            let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
            for row in rows {
                sqlx::query("DELETE FROM postrider_inbox WHERE id = ?1 AND key = ?2")
                    .bind(row.id)
                    .bind(&row.key)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        let deleted = delete.await;
        deleted.map_err(|error| self.failed(error))
    }

    async fn backlog(&mut self) -> Result<Backlog, ApplicationError> {
        let Opened { conn, .. } = self.open().await?;
        let most = i64::try_from(MOST_COUNTED).unwrap_or(i64::MAX);
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM postrider_inbox LIMIT ?1)),
                (SELECT enqueued_at FROM postrider_inbox ORDER BY id LIMIT 1)",
        )
        .bind(most)
        .fetch_one(&mut *conn)
        .await;
        let read = |row: SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let (waiting, oldest_at): (i64, Option<i64>) =
            row.and_then(read).map_err(|error| self.failed(error))?;
        Ok(Backlog {
            waiting: u64::try_from(waiting).unwrap_or(0),
            oldest_at: oldest_at.map(Timestamp::from_micros),
        })
    }
}
