//! The factory of stores on PostgreSQL, each in a database of its own; what is refused at opening.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::domain::clock::ManualClock;
use postrider::store::Store;
use postrider::store::postgres::{OpenError, OpenOptions, PostgresStore, schema_version};
use postrider::telemetry::metrics::Metrics;
use tokio::sync::OnceCell;

use super::{START, StoreFactory};
use crate::support::postgres::{self, Database};

/// Stores on PostgreSQL.
pub(crate) struct PostgresFactory {
    database: OnceCell<Database>,
}

impl PostgresFactory {
    pub(crate) fn new() -> Self {
        Self { database: OnceCell::new() }
    }
}

fn options(url: String, clock: Arc<ManualClock>) -> OpenOptions {
    OpenOptions::new(url, Arc::new(Metrics::new()), clock)
}

async fn open(url: String) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(options(url, Arc::new(ManualClock::new(START)))).await
}

#[async_trait]
impl StoreFactory for PostgresFactory {
    async fn open(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let database = self.database.get_or_init(Database::new).await;
        Arc::new(PostgresStore::open(options(database.url(), clock)).await.expect("a store"))
    }
}

fn refused(opened: Result<PostgresStore, OpenError>) -> OpenError {
    let error = opened.err().expect("refused");
    assert!(!error.hint().is_empty());
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    error
}

#[tokio::test]
async fn an_address_that_nobody_listens_at_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    let error = refused(open(format!("postgres://a:secret@127.0.0.1:{port}/b")).await);
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the database 127.0.0.1:{port}/b cannot be reached"));
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let url = format!("postgres://postrider:wrong@127.0.0.1:{}/postgres", postgres::port());
    let error = refused(open(url).await);
    assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let error = refused(open(postgres::url("missing")).await);
    assert!(matches!(error, OpenError::NoDatabase { .. }), "{error:?}");
}

#[tokio::test]
async fn an_address_of_another_form_is_refused() {
    for url in ["postgres://a:secret@host:port/b", "postgres://host:99999/x", "postgres://[/"] {
        let error = refused(open(url.to_owned()).await);
        assert!(matches!(error, OpenError::Address(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() {
    let database = Database::new().await;
    let url = database.url().replace("postrider:", "limited:");
    let user = "DO $$ BEGIN CREATE ROLE limited LOGIN PASSWORD 'secret';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    database.execute(user).await.expect("a user");
    let error = refused(open(url.clone()).await);
    assert!(matches!(error, OpenError::NoRight { right: "create", .. }), "{error:?}");
    open(database.url()).await.expect("a store");
    let error = refused(open(url.clone()).await);
    assert!(matches!(error, OpenError::NoRight { right: "use", .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_only_database_is_refused() {
    let database = Database::new().await;
    let name = database.url();
    let name = name.rsplit('/').next().expect("a name");
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.execute(&sql).await.expect("set");
    let error = refused(open(database.url()).await);
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn a_schema_of_another_program_is_left_alone() {
    let database = Database::new().await;
    let sql = "CREATE SCHEMA postrider; CREATE TABLE postrider.theirs (id int)";
    database.execute(sql).await.expect("made");
    let error = refused(open(database.url()).await);
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error:?}");
    database.execute("SELECT * FROM postrider.theirs").await.expect("there");
    database.execute("SELECT * FROM postrider.events").await.expect_err("nothing was made");
}

#[tokio::test]
async fn tables_of_an_application_beside_the_schema_are_welcome() {
    let database = Database::new().await;
    database.execute("CREATE TABLE events (id text)").await.expect("made");
    open(database.url()).await.expect("a store");
    database.execute("INSERT INTO public.events VALUES ('theirs')").await.expect("untouched");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::new().await;
    open(database.url()).await.expect("a store");
    let sql = "INSERT INTO postrider._sqlx_migrations
        (version, description, success, checksum, execution_time) VALUES (9000, 'x', true, '', 0)";
    database.execute(sql).await.expect("inserted");
    let error = refused(open(database.url()).await);
    let program = schema_version();
    assert!(
        matches!(error, OpenError::Newer { found: 9_000, program: known, .. } if known == program),
        "{error:?}"
    );
}
