//! Inboxes in databases of applications: a SQLite file, another PostgreSQL database.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use postrider::domain::database::DatabaseAddress;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::process::service::postrider;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::postgres::Database;
use crate::support::receiver::{Behaviour, Receiver};

const TRACK: &str = r#"{"type":"track","event":"E","userId":"u"}"#;

fn inbox(arguments: &[&str]) -> Output {
    postrider().arg("inbox").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(text).unwrap()
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn run(conn: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

async fn enqueue(conn: &mut SqliteConnection, source: &str, message: &str, id: Option<&str>) {
    sqlx::query("INSERT INTO postrider_inbox (source, message, message_id) VALUES (?, ?, ?)")
        .bind(source)
        .bind(message)
        .bind(id)
        .execute(conn)
        .await
        .unwrap();
}

async fn waiting(conn: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM postrider_inbox").fetch_one(conn).await.unwrap()
}

/// An application's file with an inbox, and a service that takes from it.
struct Shop {
    receiver: Receiver,
    file: PathBuf,
    app: TestApp,
}

fn with_inbox(builder: Builder, file: &Path) -> Builder {
    let file = file.to_owned();
    builder.settings(move |settings| settings.inbox = vec![DatabaseAddress::File(file)])
}

impl Shop {
    async fn open(folder: &TempDir) -> Self {
        let file = folder.path().join("app.db");
        let receiver = Receiver::start(Behaviour::ok()).await;
        let app = with_inbox(Builder::new(), &file).start().await;
        app.apply(pipeline(&[("one", &receiver.url("/hook"), json!({}))])).await;
        Self { receiver, file, app }
    }

    async fn state(&self) -> Value {
        let (_, status) = self.app.client.get("/api/v1/status").await.unwrap();
        status["inboxes"][0].clone()
    }

    /// Returns the inbox's state once it is as wanted.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let state = self.state().await;
                if wanted(&state) {
                    return state;
                }
                self.app.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), Box::pin(waiting)).await {
            Ok(state) => state,
            Err(_) => panic!("still {}", self.state().await),
        }
    }

    async fn until_fault(&self, words: &str) {
        self.until(|state| state["fault"].as_str().is_some_and(|it| it.contains(words))).await;
    }
}

#[tokio::test]
async fn init_makes_the_inbox_in_a_file_that_exists_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    let path = file.to_str().unwrap();
    let missing = inbox(&["init", path]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    assert!(said(&missing).contains("there is no file"), "{missing:?}");
    assert!(!file.exists());
    std::fs::write(&file, "not a database, but long enough to be read as one".repeat(30)).unwrap();
    let other = inbox(&["init", path]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(said(&other).contains("file is not a database"), "{other:?}");
    std::fs::remove_file(&file).unwrap();
    let mut conn = open(&file).await;
    run(&mut conn, "CREATE TABLE orders (number INTEGER PRIMARY KEY)").await;
    for _ in 0..2 {
        let made = inbox(&["init", &format!("sqlite://{path}")]);
        assert!(made.status.success(), "{made:?}");
    }
    let tables: String = sqlx::query_scalar(
        "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE sql IS NOT NULL AND
         name NOT LIKE 'sqlite_%' ORDER BY name)",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(tables, "orders,postrider_inbox,postrider_inbox_source");
    for (values, refused) in [
        ("'', '{\"type\":\"track\"}', NULL", "source is a name"),
        ("'s', '[1]', NULL", "message is a JSON object"),
        ("'s', '{\"type\":\"trak\"}', NULL", "message has a known type"),
        ("'s', '{\"type\":\"track\"}', ''", "message_id has 1 to 100 characters"),
        (
            "'s', '{\"type\":\"track\",\"a\":\"' || hex(zeroblob(16384)) || '\"}', NULL",
            "at most 32768 bytes",
        ),
    ] {
        let sql =
            format!("INSERT INTO postrider_inbox (source, message, message_id) VALUES ({values})");
        let error = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect_err(refused);
        assert!(error.to_string().contains(refused), "{error}");
    }
    run(&mut conn, "DROP TABLE postrider_inbox; CREATE TABLE postrider_inbox (id INTEGER)").await;
    let other = inbox(&["init", path]);
    assert!(!other.status.success() && said(&other).contains("was not changed"), "{other:?}");
    assert_eq!(inbox(&["grant", "shop", path]).status.code(), Some(2));
    assert_eq!(inbox(&["init", "mysql://db/app"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_file_is_drained_once_it_has_an_inbox_and_its_faults_end_nothing() {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(&folder).await;
    shop.until_fault("there is no file").await;
    let mut conn = open(&shop.file).await;
    run(&mut conn, "PRAGMA journal_mode = WAL; CREATE TABLE orders (number INTEGER)").await;
    shop.until_fault("postrider inbox init").await;
    assert!(inbox(&["init", shop.file.to_str().unwrap()]).status.success());
    run(&mut conn, "BEGIN").await;
    enqueue(&mut conn, "website", TRACK, Some("never")).await;
    run(&mut conn, "ROLLBACK; BEGIN").await;
    enqueue(&mut conn, "website", TRACK, Some("m-1")).await;
    enqueue(&mut conn, "website", r#"{"type":"track","event":"E"}"#, Some("invalid")).await;
    enqueue(&mut conn, "later", TRACK, Some("m-2")).await;
    run(&mut conn, "COMMIT").await;
    shop.app.until_settled(1).await;
    // A message of a source that does not exist waits for it and delays no other.
    let state =
        shop.until(|state| state["waits_for"] == json!(["later"]) && state["waiting"] == 1).await;
    assert!(state["fault"].is_null(), "{state}");
    let (_, findings) = shop.app.client.post("/api/v1/doctor", &json!({})).await.unwrap();
    let findings = findings.as_array().unwrap();
    let finding = findings.iter().find(|it| it["check"] == "inbox").expect("the inbox");
    assert!(
        finding["ok"] == false && finding["detail"].as_str().unwrap().contains("later"),
        "{finding}"
    );
    let ledger = shop.app.ledger().await;
    assert_eq!((ledger.events_accepted, ledger.events_rejected), (1, 1));
    let mut both = pipeline(&[("one", &shop.receiver.url("/hook"), json!({}))]);
    let mut later = both["sources"][0].clone();
    later["name"] = json!("later");
    later["write_key"] = json!({"value": "another"});
    both["sources"].as_array_mut().unwrap().push(later);
    shop.app.apply(both).await;
    shop.app.until_settled(2).await;
    // The file is replaced by another one: the path counts.
    conn.close().await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", shop.file.display()));
    }
    let mut conn = open(&shop.file).await;
    run(&mut conn, "CREATE TABLE orders (number INTEGER)").await;
    assert!(inbox(&["init", shop.file.to_str().unwrap()]).status.success());
    enqueue(&mut conn, "website", TRACK, None).await;
    shop.app.until_settled(3).await;
}

#[tokio::test]
async fn what_was_accepted_and_not_deleted_is_no_second_event() {
    let folder = TempDir::new().unwrap();
    let mut conn = open(&folder.path().join("app.db")).await;
    // Readers go on while the application has its lock.
    run(&mut conn, "PRAGMA journal_mode = WAL; CREATE TABLE orders (number INTEGER)").await;
    assert!(inbox(&["init", folder.path().join("app.db").to_str().unwrap()]).status.success());
    enqueue(&mut conn, "website", TRACK, None).await;
    enqueue(&mut conn, "website", TRACK, Some("m-1")).await;
    run(&mut conn, "BEGIN IMMEDIATE").await;
    let shop = Shop::open(&folder).await;
    shop.app.until_settled(2).await;
    shop.until_fault("locked by another connection").await;
    // It ends between accepting and deleting.
    let (dir, clock) = (Arc::clone(&shop.app.dir), Arc::clone(&shop.app.clock));
    shop.app.app.stop().await;
    assert_eq!(waiting(&mut conn).await, 2);
    run(&mut conn, "COMMIT").await;
    let app = with_inbox(Builder::after(dir, clock), &shop.file).start().await;
    let empty = async {
        while waiting(&mut conn).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), empty).await.expect("deleted");
    let ledger = app.ledger().await;
    assert_eq!((ledger.events_accepted, ledger.events_duplicate), (2, 2));
    assert_eq!(shop.receiver.requests().len(), 2);
}

#[tokio::test]
async fn another_postgresql_database_has_the_same_function() {
    let database = Database::new().await;
    let url = database.url();
    let made = inbox(&["init", &url]);
    assert!(made.status.success() && !said(&made).contains("secret"), "{made:?}");
    assert!(inbox(&["init", &url]).status.success(), "again");
    let receiver = Receiver::start(Behaviour::ok()).await;
    let address = DatabaseAddress::of_application(&url).unwrap();
    let app = Builder::new().settings(move |settings| settings.inbox = vec![address]).start().await;
    app.apply(pipeline(&[("one", &receiver.url("/hook"), json!({}))])).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    for (sql, is_done) in [
        ("BEGIN", true),
        (
            r#"SELECT postrider.enqueue('website', '{"type":"track","event":"E","userId":"u"}', 'm-1')"#,
            true,
        ),
        ("ROLLBACK", true),
        (
            r#"SELECT postrider.enqueue('website', '{"type":"track","event":"E","userId":"u"}', 'm-2')"#,
            true,
        ),
        (
            r#"SELECT postrider.enqueue('website', '{"type":"track","event":"E\u0000","userId":"u"}')"#,
            true,
        ),
        ("SELECT postrider.enqueue('website', '[]')", false),
        ("SELECT postrider.enqueue('', '{\"type\":\"track\"}')", false),
    ] {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
        assert_eq!(done.is_ok(), is_done, "{sql}: {done:?}");
    }
    app.until_settled(2).await;
    assert!(receiver.requests().iter().all(|it| !it.text().contains("m-1")));
    let empty = async {
        while database.text("SELECT count(*)::text FROM postrider.inbox").await.unwrap() != "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), empty).await.expect("deleted");
    app.app.stop().await;
    let own = Database::migrated().await;
    let refused = inbox(&["init", &own.url()]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(said(&refused).contains("postrider inbox grant"), "{refused:?}");
}
