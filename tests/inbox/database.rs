//! The inbox in the service's own PostgreSQL database: `postrider.enqueue`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use postrider::domain::database::DatabaseAddress;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::app::{Builder, SECRET, TestApp, WRITE_KEY, pipeline};
use crate::support::postgres::Database;
use crate::support::receiver::{Behaviour, Receiver};

/// Polls what no signal tells.
async fn until<T>(mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), Box::pin(waiting)).await.expect("in time")
}

fn on(database: &Database, builder: Builder) -> Builder {
    let url = database.url();
    builder.settings(move |settings| settings.database = DatabaseAddress::Server(url.into()))
}

struct Shop {
    database: Database,
    receiver: Receiver,
    app: TestApp,
}

impl Shop {
    async fn open() -> Self {
        let database = Database::migrated().await;
        let receiver = Receiver::start(Behaviour::ok()).await;
        let app = on(&database, Builder::new()).start().await;
        app.apply(pipeline(&[("one", &receiver.url("/hook"), json!({}))])).await;
        Self { database, receiver, app }
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.database.url()).await.unwrap()
    }

    /// The messageIds of what was delivered, in order.
    fn delivered(&self) -> Vec<String> {
        let id = |body: &[u8]| {
            let event: Value = serde_json::from_slice(body).unwrap();
            event["messageId"].as_str().unwrap().to_owned()
        };
        self.receiver.requests().iter().map(|request| id(&request.body)).collect()
    }

    async fn count(&self, table: &str) -> String {
        let sql = format!("SELECT count(*)::text FROM postrider.{table}");
        self.database.text(&sql).await.unwrap()
    }

    /// Returns once nothing is in the inbox.
    async fn until_empty(&self) {
        until(async || (self.count("inbox").await == "0").then_some(())).await;
    }
}

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

async fn enqueue(conn: &mut PgConnection, id: &str) {
    let sql = format!(
        r#"SELECT postrider.enqueue('website', '{{"type":"track","event":"E","userId":"u"}}', '{id}')"#
    );
    run(conn, &sql).await;
}

#[tokio::test]
async fn a_message_is_delivered_exactly_if_its_transaction_commits_in_whatever_order() {
    let shop = Shop::open().await;
    let (mut long, mut short) = (shop.connect().await, shop.connect().await);
    // The long transaction has the lowest ids and commits last.
    run(&mut long, "BEGIN").await;
    enqueue(&mut long, "late-1").await;
    run(&mut short, "BEGIN").await;
    enqueue(&mut short, "never").await;
    run(&mut short, "ROLLBACK").await;
    run(&mut short, "BEGIN").await;
    enqueue(&mut short, "early").await;
    run(&mut short, "SAVEPOINT half").await;
    enqueue(&mut short, "never-either").await;
    run(&mut short, "ROLLBACK TO half; COMMIT").await;
    shop.app.until_settled(1).await;
    assert_eq!(shop.delivered(), ["early"]);
    enqueue(&mut long, "late-2").await;
    run(&mut long, "COMMIT").await;
    shop.app.until_settled(3).await;
    let mut delivered = shop.delivered();
    delivered[1..].sort();
    assert_eq!(delivered, ["early", "late-1", "late-2"]);
    assert_eq!(shop.count("inbox").await, "0");
    let ledger = shop.app.ledger().await;
    assert_eq!((ledger.events_accepted, ledger.events_duplicate), (3, 0));
}

#[tokio::test]
async fn enqueue_checks_what_it_is_given_and_keeps_every_byte() {
    let shop = Shop::open().await;
    let mut conn = shop.connect().await;
    let track = r#"{"type":"track","event":"E","userId":"u"}"#;
    let large = format!(r#"{{"type":"track","event":"{}","userId":"u"}}"#, "x".repeat(32_768));
    let long_id = "i".repeat(101);
    for (source, message, id, refused) in [
        ("nobody", track, None, "there is no source nobody"),
        ("website", "[]", None, "not an object with a type that is known"),
        ("website", "null", None, "not an object with a type that is known"),
        ("website", r#"{"type":"trak"}"#, None, "not an object with a type that is known"),
        ("website", r#"{"event":"E"}"#, None, "not an object with a type that is known"),
        ("website", r#"{"type":"#, None, "invalid input syntax for type json"),
        ("website", large.as_str(), None, "more than the 32768 it may have"),
        ("website", track, Some(""), "empty or has more than 100 characters"),
        ("website", track, Some(long_id.as_str()), "empty or has more than 100 characters"),
    ] {
        let call = sqlx::query("SELECT postrider.enqueue($1, $2::text::json, $3)");
        let done = call.bind(source).bind(message).bind(id).execute(&mut conn).await;
        let error = done.expect_err(refused).to_string();
        assert!(error.contains(refused), "{error}");
    }
    for sql in ["SELECT postrider.enqueue(NULL, '{}')", "SELECT postrider.enqueue('website', NULL)"]
    {
        assert!(sqlx::query(sql).execute(&mut conn).await.is_err(), "{sql}");
    }
    // Spaces, the order of keys, escapes that a text cannot hold, and numbers as written.
    let odd =
        r#"{ "type":"track", "event":"E\u0000","userId":"u", "properties": {"b":1.0, "a":1e2} }"#;
    run(&mut conn, &format!("SELECT postrider.enqueue(message => '{odd}', source => 'website')"))
        .await;
    shop.app.until_settled(1).await;
    let body = "SELECT convert_from(body, 'UTF8') FROM postrider.events";
    assert_eq!(shop.database.text(body).await.unwrap(), odd);
}

#[tokio::test]
async fn what_fails_validation_is_kept_as_rejected_with_its_reason() {
    let shop = Shop::open().await;
    let mut conn = shop.connect().await;
    run(&mut conn, r#"SELECT postrider.enqueue('website', '{"type":"track","event":"E"}', 'm-1')"#)
        .await;
    shop.until_empty().await;
    let mut long = shop.connect().await;
    run(&mut long, "BEGIN").await;
    enqueue(&mut long, "m-2").await;
    let remove = json!({"document": {"sources": []}, "prune": true});
    let (status, answer) = shop.app.client.post("/api/v1/pipeline", &remove).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    run(&mut long, "COMMIT").await;
    shop.until_empty().await;
    let kept = "SELECT string_agg(message_id || ': ' || rejection, '; ' ORDER BY id) FROM postrider.events";
    assert_eq!(
        shop.database.text(kept).await.unwrap(),
        "m-1: there is no userId and no anonymousId; \
         m-2: the source was removed before the event was accepted"
    );
    assert_eq!(shop.app.ledger().await.events_rejected, 2);
    assert!(shop.receiver.requests().is_empty());
}

#[tokio::test]
async fn an_event_that_came_over_http_is_a_duplicate_in_the_inbox() {
    let shop = Shop::open().await;
    shop.app.track("m-1").await;
    let mut conn = shop.connect().await;
    enqueue(&mut conn, "m-1").await;
    // What is given beside the message counts before the message's own.
    let message = r#"{"type":"track","event":"E","userId":"u","messageId":"m-1"}"#;
    run(&mut conn, &format!("SELECT postrider.enqueue('website', '{message}', 'm-2')")).await;
    run(&mut conn, &format!("SELECT postrider.enqueue('website', '{message}')")).await;
    shop.until_empty().await;
    shop.app.until_settled(2).await;
    assert_eq!(shop.delivered(), ["m-1", "m-2"]);
    assert_eq!(shop.app.ledger().await.events_duplicate, 2);
}

#[tokio::test]
async fn messages_of_a_limited_or_disabled_source_wait_and_delay_no_other_source() {
    let shop = Shop::open().await;
    let source = |name: &str, more: Value| {
        let destination = json!({
            "name": "one",
            "shared_secret": {"value": SECRET},
            "mappings": [{"name": "all", "url": shop.receiver.url("/hook")}],
        });
        let mut source = json!({"name": name, "write_key": {"value": format!("key-{name}")}, "destinations": [destination]});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let sources = |limit: Value, enabled: bool| {
        json!({"sources": [
            source("slow", limit),
            source("off", json!({"enabled": enabled})),
            source("calm", json!({})),
        ]})
    };
    let limit = json!({"rate_per_second": 1, "burst": 2});
    shop.app.apply(sources(limit.clone(), false)).await;
    let mut conn = shop.connect().await;
    let fill = "SELECT postrider.enqueue(s, json_build_object('type', 'track', 'event', s, 'userId', 'u'), s || n)
        FROM unnest(ARRAY['slow', 'off']) AS s, generate_series(1, 5) AS n;
        SELECT postrider.enqueue('calm', '{\"type\":\"track\",\"event\":\"calm\",\"userId\":\"u\"}', 'calm')";
    run(&mut conn, fill).await;
    shop.app.until_settled(3).await;
    let mut delivered = shop.delivered();
    delivered.sort();
    assert_eq!(delivered, ["calm", "slow1", "slow2"]);
    assert_eq!(shop.count("inbox").await, "8");
    // What waits, and for what, is shown.
    let inbox = until(async || {
        shop.app.clock.advance(Duration::from_secs(1));
        let (_, status) = shop.app.client.get("/api/v1/status").await.unwrap();
        let inbox = status["inboxes"][0].clone();
        // The five of the disabled source, and what the limit still holds.
        (5..8).contains(&inbox["waiting"].as_u64()?).then_some(inbox)
    })
    .await;
    assert_eq!(inbox["inbox"], "postrider.inbox");
    assert_eq!(inbox["waits_for"], json!(["off"]));
    assert!(inbox["oldest_at"].is_string() && inbox["fault"].is_null(), "{inbox}");
    shop.app.clock.advance(Duration::from_secs(60));
    shop.app.until_settled(6).await;
    shop.app.apply(sources(limit, true)).await;
    shop.app.clock.advance(Duration::from_secs(60));
    shop.app.until_settled(11).await;
    assert_eq!(shop.count("inbox").await, "0");
}

#[tokio::test]
async fn several_nodes_share_an_inbox_and_take_each_message_once() {
    const MESSAGES: usize = 600;
    let shop = Shop::open().await;
    let (dir, clock) = (Arc::clone(&shop.app.dir), Arc::clone(&shop.app.clock));
    let other = on(&shop.database, Builder::after(dir, clock)).start().await;
    let mut conn = shop.connect().await;
    let fill = format!(
        "SELECT postrider.enqueue('website', '{{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}}', 'm-' || n)
         FROM generate_series(1, {MESSAGES}) AS n"
    );
    run(&mut conn, &fill).await;
    shop.until_empty().await;
    shop.receiver.wait_for(MESSAGES).await;
    let unsettled = "SELECT (SELECT count(*) FROM postrider.leased)::text";
    until(async || (shop.database.text(unsettled).await.unwrap() == "0").then_some(())).await;
    let delivered: std::collections::BTreeSet<_> = shop.delivered().into_iter().collect();
    assert_eq!((delivered.len(), shop.receiver.requests().len()), (MESSAGES, MESSAGES));
    let duplicates = "SELECT sum(events_duplicate)::text FROM postrider.ledger";
    assert_eq!(shop.database.text(duplicates).await.unwrap(), "0");
    other.app.stop().await;
}

#[tokio::test]
async fn a_role_may_use_enqueue_once_it_is_granted_and_nothing_else() {
    let shop = Shop::open().await;
    let role = format!("shop_{}", std::process::id());
    shop.database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await.unwrap();
    let url = shop.database.url().replace("postrider:secret", &format!("{role}:secret"));
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let call =
        r#"SELECT postrider.enqueue('website', '{"type":"track","event":"E","userId":"u"}', 'm')"#;
    assert!(sqlx::query(call).execute(&mut conn).await.is_err(), "before the grant");
    let granted = crate::process::service::postrider()
        .args(["inbox", "grant", &role, &shop.database.url()])
        .output()
        .unwrap();
    assert!(granted.status.success(), "{granted:?}");
    sqlx::query(call).execute(&mut conn).await.unwrap();
    for forbidden in [
        "SELECT * FROM postrider.inbox",
        "INSERT INTO postrider.inbox (source_id, message, enqueued_at) VALUES (1, '{}', 0)",
        "SELECT * FROM postrider.events",
        "SELECT postrider.admit(ARRAY[]::uuid[], ARRAY[]::bigint[])",
        "CREATE TABLE postrider.mine (id int)",
    ] {
        let error = sqlx::query(forbidden).execute(&mut conn).await.expect_err(forbidden);
        assert!(error.to_string().contains("permission denied"), "{forbidden}: {error}");
    }
    conn.close().await.unwrap();
    shop.app.until_settled(1).await;
    assert_eq!(
        shop.app.send_with(WRITE_KEY, "/v1/track", &json!({"event": "E", "userId": "u"})).await,
        StatusCode::OK
    );
    shop.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
