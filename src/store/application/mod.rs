//! Inboxes in databases of applications: a SQLite file or another PostgreSQL database. Their messages are accepted
//! first and deleted after that; de-duplication covers a crash between the two.

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

use crate::domain::database::DatabaseAddress;
use crate::domain::inbox::Backlog;

mod postgres;
mod sqlite;

use postgres::PostgresInbox;
use sqlite::SqliteInbox;

/// A message in an application's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationRow {
    /// Its position.
    pub id: i64,
    /// What tells it from every other row, also from one in a restored file.
    pub key: String,
    /// The name of the source that it is for.
    pub source: String,
    /// The messageId that the application gave beside the message.
    pub message_id: Option<String>,
    /// The message, byte for byte.
    pub message: String,
}

/// Why messages cannot be taken from an application's inbox, in words for its operator.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The file does not exist.
    #[error("there is no file {0}")]
    Missing(String),
    /// There is no inbox in it.
    #[error("there is no inbox in it: run postrider inbox init {0}")]
    NoInbox(String),
    /// Its table has other columns.
    #[error("its inbox was made by another version of this program or by another one")]
    OtherSchema(#[source] sqlx::Error),
    /// Another connection has locked it.
    #[error("it is locked by another connection")]
    Locked(#[source] sqlx::Error),
    /// Accepted messages cannot be deleted.
    #[error("its disk is full: accepted messages cannot be deleted")]
    Full(#[source] sqlx::Error),
    /// It holds the service's own tables.
    #[error(
        "it is the database of a service, which has an inbox of its own: use postrider inbox grant"
    )]
    OfService,
    /// It takes no writes.
    #[error("it is read-only")]
    ReadOnly(#[source] sqlx::Error),
    /// Something else.
    #[error("it cannot be used")]
    Database(#[source] sqlx::Error),
}

/// An inbox in the database of an application. Rows that were taken are the caller's until it deletes or releases
/// them.
#[async_trait]
pub trait ApplicationInbox: Send {
    /// Its name, without secrets.
    fn name(&self) -> String;

    /// The names of the sources that have messages, as far as committed. None while nothing has changed.
    async fn waiting_sources(&mut self, most: u32) -> Result<Vec<String>, ApplicationError>;

    /// The oldest messages of these sources, grouped by source, at most so many of each.
    async fn take(
        &mut self,
        sources: &[String],
        most_each: u32,
    ) -> Result<Vec<ApplicationRow>, ApplicationError>;

    /// Deletes rows that were accepted, and releases the others that were taken.
    async fn delete(&mut self, rows: &[ApplicationRow]) -> Result<(), ApplicationError>;

    /// What waits.
    async fn backlog(&mut self) -> Result<Backlog, ApplicationError>;
}

/// The inbox at an address; nothing is opened yet.
#[must_use]
pub fn application_inbox(address: &DatabaseAddress) -> Box<dyn ApplicationInbox> {
    match address {
        DatabaseAddress::File(path) => Box::new(SqliteInbox::new(path.clone())),
        DatabaseAddress::Server(url) => {
            Box::new(PostgresInbox::new(url.expose_secret().to_owned(), address.shown()))
        }
    }
}

/// Makes the inbox in an application's database, unless it is there.
///
/// # Errors
/// [`ApplicationError`]; nothing was changed then.
pub async fn init_inbox(address: &DatabaseAddress) -> Result<(), ApplicationError> {
    match address {
        DatabaseAddress::File(path) => sqlite::init(path).await,
        DatabaseAddress::Server(url) => postgres::init(url.expose_secret()).await,
    }
}

/// Grants a role of a PostgreSQL database the right to use `postrider.enqueue` there.
///
/// # Errors
/// [`ApplicationError`]; nothing was changed then.
pub async fn grant_enqueue(url: &str, role: &str) -> Result<(), ApplicationError> {
    postgres::grant(url, role).await
}
