//! The examples under `examples/outbox`, with the real service: both are killed again and again, and what was
//! delivered is what was committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::process::service::{Service, postrider};
use crate::support::app::pipeline;
use crate::support::postgres::Database;
use crate::support::receiver::{Behaviour, Receiver};

/// How often application and service are killed.
const KILLS: usize = 3;
/// Orders between two kills, at least.
const ORDERS: usize = 40;

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/outbox").join(file)
}

fn command(program: impl AsRef<std::ffi::OsStr>, file: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(example(file));
    command
}

/// The application; killed when it is dropped.
struct Application(Child);

impl Application {
    fn start(command: &mut Command, database: &str) -> Self {
        let child = command.arg(database).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.expect("the example, as tests/inbox/install sets it up"))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It runs until it is killed: an example that ended by itself has failed.
        assert!(self.0.try_wait().unwrap().is_none() || std::thread::panicking(), "it ended");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The numbers of the orders that were delivered.
fn delivered(receiver: &Receiver) -> BTreeSet<i64> {
    let number = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap();
        let number = event["properties"]["number"].as_i64().unwrap();
        assert_eq!(event["messageId"], format!("order-{number}"));
        number
    };
    receiver.requests().iter().map(|request| number(&request.body)).collect()
}

async fn apply(service: &Service, receiver: &Receiver) {
    let mut document = pipeline(&[("one", &receiver.url("/hook"), json!({}))]);
    document["sources"][0]["name"] = json!("shop");
    let request = json!({"document": document});
    let (status, answer) = service.client().post("/api/v1/pipeline", &request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Runs the application, and kills both again and again.
async fn run(service: &mut Service, receiver: &Receiver, application: impl Fn() -> Application) {
    for kill in 1..=KILLS {
        let running = application();
        let wanted = kill * ORDERS;
        service.until("orders are delivered", async |_| delivered(receiver).len() >= wanted).await;
        // Which of them is in the middle of what, is left to chance.
        if kill % 2 == 0 {
            service.kill();
            drop(running);
        } else {
            drop(running);
            service.kill();
        }
        service.start().await;
    }
}

/// An example on PostgreSQL, in the service's own database, with a role that may do no more than the documentation
/// says.
async fn on_postgres(name: &str, application: impl Fn() -> Command) {
    let database = Database::migrated().await;
    let role = format!("{name}_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; CREATE TABLE public.orders (number bigint PRIMARY KEY);
             GRANT SELECT, INSERT ON public.orders TO {role}"
        ))
        .await
        .unwrap();
    let granted = postrider().args(["inbox", "grant", &role, &database.url()]).output().unwrap();
    assert!(granted.status.success(), "{granted:?}");
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut service = Service::in_dir(folder.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.set_env("POSTRIDER_DATABASE", database.url());
    service.set_env("POSTRIDER_TOKEN_FILE", folder.path().join("postrider.db.token"));
    service.set_env("POSTRIDER_SECRET_KEY_FILE", folder.path().join("postrider.db.key"));
    service.start().await;
    apply(&service, &receiver).await;
    let url = database.url().replace("postrider:secret", &format!("{role}:secret"));
    let start = || Application::start(&mut application(), &url);
    run(&mut service, &receiver, start).await;
    let mut conn = PgConnection::connect(&database.url()).await.unwrap();
    service
        .until("the inbox is empty", async |_| {
            let left = sqlx::query_scalar("SELECT count(*) FROM postrider.inbox");
            let left: i64 = left.fetch_one(&mut conn).await.unwrap();
            left == 0
        })
        .await;
    let mut numbers = async |sql: &'static str| -> BTreeSet<i64> {
        let found: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap();
        assert!(found.len() >= KILLS * ORDERS, "{sql}");
        found.into_iter().collect()
    };
    let placed = numbers("SELECT number FROM public.orders").await;
    let accepted =
        "SELECT substr(message_id, 7)::bigint FROM postrider.events WHERE rejection IS NULL";
    assert_eq!(numbers(accepted).await, placed);
    assert!(placed.iter().all(|number| number % 5 != 0), "declined orders are rolled back");
    // What a killed node held is delivered when its leases expire.
    assert!(delivered(&receiver).is_subset(&placed));
    conn.close().await.unwrap();
    drop(service);
    let drop_role = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    database.execute(&drop_role).await.unwrap();
}

#[tokio::test]
async fn orders_in_postgresql_from_python_become_events_exactly_if_they_were_placed() {
    on_postgres("python", || command(example(".venv/bin/python"), "orders_postgres.py")).await;
}

#[tokio::test]
async fn orders_in_postgresql_from_node_become_events_exactly_if_they_were_placed() {
    on_postgres("node", || command("node", "orders_postgres.mjs")).await;
}

#[tokio::test]
async fn orders_in_postgresql_from_rust_become_events_exactly_if_they_were_placed() {
    // Cargo builds examples with the tests, beside the program.
    let folder = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().unwrap();
    let program = folder.join("examples/orders_postgres");
    on_postgres("rust", || Command::new(&program)).await;
}

#[tokio::test]
async fn orders_in_sqlite_from_python_are_delivered_exactly_if_they_were_placed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("shop.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let orders = "PRAGMA journal_mode = WAL; CREATE TABLE orders (number INTEGER PRIMARY KEY)";
    conn.execute(sqlx::raw_sql(AssertSqlSafe(orders.to_owned()))).await.unwrap();
    let made = postrider().args(["inbox", "init"]).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let receiver = Receiver::start(Behaviour::ok()).await;
    let settings =
        format!("min_free_disk_mib = 0\nlog = \"warn\"\ninbox = [\"{}\"]", file.display());
    let mut service = Service::in_dir(folder.path(), &settings);
    service.start().await;
    apply(&service, &receiver).await;
    let start = || {
        let mut python = command("python3", "orders_sqlite.py");
        Application::start(&mut python, file.to_str().unwrap())
    };
    run(&mut service, &receiver, start).await;
    service
        .until("the inbox is empty and everything delivered", async |service| {
            let ledger = service.status().await["ledger"].clone();
            let left = sqlx::query_scalar("SELECT count(*) FROM postrider_inbox");
            let left: i64 = left.fetch_one(&mut conn).await.unwrap();
            left == 0 && ledger["pending"] == 0 && ledger["leased"] == 0
        })
        .await;
    let placed = sqlx::query_scalar("SELECT number FROM orders");
    let placed: Vec<i64> = placed.fetch_all(&mut conn).await.unwrap();
    assert!(placed.len() >= KILLS * ORDERS && placed.iter().all(|number| number % 5 != 0));
    assert_eq!(delivered(&receiver), placed.into_iter().collect());
}
