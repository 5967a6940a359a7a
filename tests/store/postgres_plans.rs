//! What statements read on PostgreSQL while old snapshots keep what was moved, and after hot tables were vacuumed while
//! they were empty. Rows are counted, not time.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::id::DeliveryId;
use postrider::domain::retry::Next;
use postrider::store::{Accepted, NewEvent};
use sqlx::{Connection as _, PgConnection};

use super::postgres::PostgresFactory;
use super::world::{Target, World};

/// Statistics of the tables that a query names, once the store's sessions have ended: then they are complete.
async fn statistics(factory: &PostgresFactory, sql: &str) -> usize {
    let others = "SELECT count(*)::text FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'postrider'";
    while factory.database().text(others).await.as_deref() != Some("0") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    factory.database().text(sql).await.unwrap().parse().unwrap()
}

/// Accepts so many events, leased or pending; returns their deliveries.
async fn accept(
    world: &World,
    name: &str,
    target: Target,
    count: usize,
    leased: bool,
) -> Vec<DeliveryId> {
    let new = |number| NewEvent {
        event: Arc::new(world.event(&format!("{name}-{number}"))),
        deliveries: vec![if leased { world.leased(target) } else { world.pending(target) }],
        skips: Vec::new(),
    };
    let accepted = world.store.accept((0..count).map(new).collect()).await.expect("accepted");
    let ids = accepted.iter().map(|it| match it {
        Accepted::Stored { delivery_ids, .. } => delivery_ids.iter().next().expect("one"),
        Accepted::Duplicate => panic!("a duplicate"),
    });
    ids.collect()
}

#[tokio::test]
async fn claims_read_no_more_while_a_snapshot_is_open() {
    const ROUNDS: usize = 40;
    const ROWS: usize = 20;
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    let mut holder = PgConnection::connect(&factory.database().url()).await.unwrap();
    let open = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM postrider.pending";
    sqlx::raw_sql(open).execute(&mut holder).await.unwrap();
    for round in 0..ROUNDS {
        accept(&world, &format!("r{round}"), world.a, ROWS, false).await;
        assert_eq!(world.claim(world.a, 100).await.deliveries.len(), ROWS);
        world.clock.advance(Duration::from_secs(6));
    }
    world.store.close().await;
    let sql =
        "SELECT idx_tup_read::text FROM pg_stat_user_indexes WHERE indexrelname = 'pending_due'";
    let read = statistics(&factory, sql).await;
    holder.close().await.unwrap();
    // Each claim alone reads what it takes, and what is due next; one in five looks at everything.
    let all = ROUNDS * ROUNDS / 2 * ROWS * 2;
    assert!((ROUNDS * ROWS..all / 2).contains(&read), "{read} of {all}");
}

#[tokio::test]
async fn hot_tables_that_were_vacuumed_while_empty_are_not_read_as_a_whole() {
    const LEASED: usize = 2_000;
    const ROWS: usize = 50;
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    let vacuum = "VACUUM ANALYZE postrider.pending; VACUUM ANALYZE postrider.leased";
    for sql in vacuum.split("; ") {
        factory.database().execute(sql).await.expect("vacuumed");
    }
    let mut ids = Vec::new();
    for part in 0..4 {
        let name = format!("p{part}");
        ids.extend(accept(&world, &name, world.a, LEASED / 4, true).await);
    }
    for some in ids.chunks(ROWS) {
        let record = |id: &DeliveryId| world.record_of(*id, 1, Outcome::Delivered, Next::Delivered);
        let records = some.iter().map(record).collect();
        world.store.record(Arc::new(records)).await.expect("recorded");
    }
    world.store.close().await;
    let sql = "SELECT sum(seq_tup_read)::text FROM pg_stat_user_tables
        WHERE schemaname = 'postrider' AND relname IN ('pending', 'leased')";
    let read = statistics(&factory, sql).await;
    assert!(read < LEASED, "{read} rows were read as parts of whole tables");
}
