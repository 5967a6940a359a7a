//! Latency of lists over two million deliveries, for each filter, on the first page and deep pages.
//! `cargo bench --bench lists`; it fails when p95 of a page exceeds 100 ms. `POSTRIDER_BENCH_ROWS` sets the
//! number of deliveries.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider::domain::clock::{ManualClock, Timestamp};
use postrider::domain::delivery::{Reason, State};
use postrider::domain::id::{DeliveryId, DestinationId, EventId, MappingId};
use postrider::store::sqlite::{OpenOptions, SqliteStore};
use postrider::store::{DeliveryQuery, EventConditions, EventQuery, StatusRange, Store};
use postrider::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

/// When the first event was accepted.
const START: i64 = 1_780_000_000_000_000;
/// Pages of each list that are timed.
const TIMES: usize = 40;
/// The limit of a page.
const BOUND: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = std::env::var("POSTRIDER_BENCH_ROWS").ok().and_then(|it| it.parse().ok());
    let runtime = tokio::runtime::Runtime::new()?;
    let slow = runtime.block_on(measure(rows.unwrap_or(2_000_000)))?;
    if slow > 0 {
        return Err(format!("{slow} lists are slower than {BOUND:?}").into());
    }
    Ok(())
}

async fn measure(rows: i64) -> Result<u32, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("postrider.db");
    let options = || {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START)));
        OpenOptions::new(&path, Arc::new(Metrics::new()), clock)
    };
    SqliteStore::open(options()).await?.close().await;
    let filled = Instant::now();
    fill(&path, rows).await?;
    println!("{rows} deliveries, filled in {:?}", filled.elapsed());
    let store = SqliteStore::open(options()).await?;
    let mut slow = 0;
    for (name, query) in deliveries(rows) {
        for before in [rows + 1, rows / 2] {
            let query = DeliveryQuery { before: Some(DeliveryId(before)), ..query.clone() };
            let mut took = Vec::with_capacity(TIMES);
            for _ in 0..TIMES {
                let began = Instant::now();
                store.deliveries(query.clone()).await?;
                took.push(began.elapsed());
            }
            slow += report(&format!("deliveries {name}, below {before}"), took);
        }
    }
    for (name, query) in events() {
        let query = EventQuery { before: Some(EventId(rows / 4)), ..query };
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let began = Instant::now();
            store.events(query.clone()).await?;
            took.push(began.elapsed());
        }
        slow += report(&format!("events {name}"), took);
    }
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        store.dead_letter_groups().await?;
        took.push(began.elapsed());
    }
    slow += report("dead letters in groups", took);
    store.close().await;
    Ok(slow)
}

/// Prints p50 and p95; 1 when p95 exceeds the limit.
fn report(name: &str, mut took: Vec<Duration>) -> u32 {
    took.sort_unstable();
    let p95 = took[took.len() * 95 / 100];
    println!("{name}: p50 {:?}, p95 {p95:?}", took[took.len() / 2]);
    u32::from(p95 > BOUND)
}

fn deliveries(rows: i64) -> Vec<(&'static str, DeliveryQuery)> {
    let all = DeliveryQuery { limit: 51, ..DeliveryQuery::default() };
    let like = |event| DeliveryQuery { event, ..all.clone() };
    let nobody = Some("nobody".to_owned());
    let middle = Timestamp::from_micros(START + rows / 2 * 1_000);
    vec![
        ("all", all.clone()),
        ("of a state", DeliveryQuery { state: Some(State::Delivered), ..all.clone() }),
        ("pending", DeliveryQuery { state: Some(State::Pending), ..all.clone() }),
        ("dead", DeliveryQuery { state: Some(State::Dead), ..all.clone() }),
        ("of a rare reason", DeliveryQuery { reason: Some(Reason::Render), ..all.clone() }),
        ("of a status", status(&all, 404)),
        ("of a class of statuses", status(&all, 200)),
        ("of a mapping", DeliveryQuery { mapping_id: Some(MappingId(3)), ..all.clone() }),
        ("of no mapping", DeliveryQuery { mapping_id: Some(MappingId(99)), ..all.clone() }),
        (
            "of a destination",
            DeliveryQuery { destination_id: Some(DestinationId(2)), ..all.clone() },
        ),
        ("since the middle", DeliveryQuery { accepted_from: Some(middle), ..all.clone() }),
        ("until the middle", DeliveryQuery { accepted_until: Some(middle), ..all.clone() }),
        ("of no user", like(EventConditions { user_id: nobody.clone(), ..Default::default() })),
        ("of no message", like(EventConditions { message_id: nobody, ..Default::default() })),
    ]
}

fn status(all: &DeliveryQuery, from: u16) -> DeliveryQuery {
    let to = if from == 200 { 299 } else { from };
    DeliveryQuery { status: Some(StatusRange { from, to }), ..all.clone() }
}

fn events() -> Vec<(&'static str, EventQuery)> {
    let all = EventQuery { limit: 51, ..EventQuery::default() };
    let nobody = Some("nobody".to_owned());
    let like = |event| EventQuery { event, ..all.clone() };
    vec![
        ("all", all.clone()),
        ("rejected", EventQuery { rejected: true, ..all.clone() }),
        ("of no user", like(EventConditions { user_id: nobody.clone(), ..Default::default() })),
        ("of no message", like(EventConditions { message_id: nobody, ..Default::default() })),
    ]
}

/// Events of 1 KB with two deliveries each: most delivered, some pending, one of fifty dead.
async fn fill(path: &std::path::Path, rows: i64) -> Result<(), sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut conn = SqliteConnection::connect_with(&options).await?;
    let body = format!("{{\"type\":\"track\",\"filler\":\"{}\"}}", "x".repeat(980));
    let events = format!(
        "INSERT INTO events (id, source_id, received_at, type, message_id, name, user_id,
            first_delivery_id, delivery_count, rejection, body)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} / 2)
         SELECT i, i % 3 + 1, {START} + i * 2000, 'track', 'message-' || i, 'Order Completed',
            'user-' || (i % 1000), i * 2 - 1, CASE WHEN i % 100 = 0 THEN 0 ELSE 2 END,
            CASE WHEN i % 100 = 0 THEN 'rejected' END, CAST('{body}' AS BLOB) FROM n"
    );
    let deliveries = format!(
        "INSERT INTO deliveries (id, event_id, mapping_id, destination_id, state, accepted_at,
            deadline_at, token, tried, due_at, settled_at, reason, last_outcome, last_status)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}),
         s(i, state) AS (SELECT i, CASE WHEN i % 50 = 0 THEN 'dead' WHEN i % 10 = 1 THEN 'pending'
            ELSE 'delivered' END FROM n)
         SELECT i, (i + 1) / 2, i % 7 + 1, i % 3 + 1, state, {START} + i * 1000,
            {START} + i * 1000 + 14400000000, 1, 1,
            CASE state WHEN 'pending' THEN {START} + (i * 7919 % {rows}) * 1000 END,
            CASE state WHEN 'pending' THEN NULL ELSE {START} + i * 1000 END,
            CASE state WHEN 'dead' THEN CASE WHEN i % 100000 = 0 THEN 'render' ELSE 'rejected' END END,
            CASE state WHEN 'delivered' THEN 'delivered' WHEN 'dead' THEN 'rejected' END,
            CASE state WHEN 'delivered' THEN 200 WHEN 'dead' THEN 404 END FROM s"
    );
    for sql in [events, deliveries] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await?;
    }
    conn.close().await
}
